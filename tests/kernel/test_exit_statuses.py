from __future__ import annotations

import os
import signal
from contextlib import closing

from tests.children import needs_root
from tests.live.machine import state, until
from utraced.kernel import exit_statuses
from utraced.kernel.exit_statuses import ExitStatuses

NOBODY = 4_194_304
"""More than a pid can be (PID_MAX_LIMIT)."""


def ended(code: int, statuses: ExitStatuses) -> int:
    """Return a process that has been watched, and is a zombie now."""
    waits, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(waits, 1)
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)
    os.close(waits)
    statuses.watch(pid)
    os.close(go)
    until(lambda: state(pid) == "Z", "a zombie")
    return pid


@needs_root
def test_of_a_zombie() -> None:
    with closing(ExitStatuses()) as statuses:
        pid = ended(7, statuses)
        assert statuses.status(pid) == 7 << 8
        os.waitpid(pid, 0)


def test_of_one_that_is_gone() -> None:
    with closing(ExitStatuses()) as statuses:
        pid = ended(-signal.SIGTERM, statuses)
        os.waitpid(pid, 0)
        assert statuses.status(pid) == signal.SIGTERM
        assert statuses.status(pid) is None, "it is forgotten"


def test_of_one_that_runs_there_is_none() -> None:
    with closing(ExitStatuses()) as statuses:
        statuses.watch(os.getpid())
        assert statuses.status(os.getpid()) is None


def test_of_one_that_has_never_been_there_is_none() -> None:
    with closing(ExitStatuses()) as statuses:
        statuses.watch(NOBODY)
        assert statuses.status(NOBODY) is None


def test_it_holds_a_bounded_number_of_descriptors(monkeypatch) -> None:
    monkeypatch.setattr(exit_statuses, "MOST", 1)
    with closing(ExitStatuses()) as statuses:
        before = len(os.listdir("/proc/self/fd"))
        statuses.watch(os.getpid())
        statuses.watch(os.getppid())
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(os.listdir("/proc/self/fd")) == before
