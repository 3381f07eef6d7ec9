"""The attacher as a process: what it may, and when it ends."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attacher.clients import attacher, needed
from tests.attacher.test_service import record
from tests.children import as_user, libc, needs_root
from tests.kernel.test_bpf_recording import programs
from tests.live.machine import children, state, status, until
from utraced.attacher.starting import NAME, start
from utraced.errors import LimitExceeded
from utraced.kernel.recorder_requests import End
from utraced.linux.identity import own_identity

PR_SET_CHILD_SUBREAPER = 36

pytestmark = needs_root


@pytest.fixture(autouse=True)
def _adopting() -> Iterator[None]:
    """Have attachers, which are nobody's children, become ours."""
    libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc().prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def found() -> int:
    """Return the pid of the attacher that was just started."""
    pids: list[int] = []

    def there() -> bool:
        pids[:] = [pid for pid in children(os.getpid()) if status(pid).get("Name") == NAME and state(pid) != "Z"]
        return bool(pids)

    until(there, "an attacher")
    return pids[-1]


def wait_gone(pid: int) -> None:
    until(lambda: state(pid) in {"Z", ""}, "the end of the attacher")
    os.waitpid(pid, 0)


def test_a_user_has_none() -> None:
    assert as_user(start) is None


def test_it_has_only_the_capabilities_that_it_needs() -> None:
    with attacher():
        pid = found()
        until(lambda: status(pid).get("NoNewPrivs") == "1", "what it gives up")
        told = status(pid)
        assert {told[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {f"{needed(pid):016x}"}
        assert {told[name] for name in ("CapInh", "CapAmb")} == {f"{0:016x}"}
    wait_gone(pid)


def test_it_keeps_nothing_of_what_we_have_open() -> None:
    with open("/dev/zero", "rb") as zero, attacher():
        pid = found()
        until(lambda: status(pid).get("NoNewPrivs") == "1", "what it gives up")
        kept = set()
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # what it loads meanwhile it opens, and closes again
                kept.add(os.readlink(path))
        assert kept
        assert zero.name not in kept
    wait_gone(pid)


def test_nothing_is_left_where_it_is_killed() -> None:
    before = programs()
    with attacher() as one, one.client(own_identity()) as client:
        pid = found()
        _, ring = record(client, os.getpid())
        assert programs() - before
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        until(lambda: not programs() - before, "nothing of ours in the kernel")
        assert not client.receive().data
        ring.take()
        os.getppid()
        assert not ring.waiting
        ring.close()


def test_where_no_descriptor_can_be_passed_on_the_client_is_told() -> None:
    with attacher() as one, one.client(own_identity()) as client:
        pid = found()
        number, ring = record(client, os.getpid())
        ring.close()
        client.call(End(recording=number))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            # More of root's are on their way than this process of root's may have open (unix(7)).
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, before[1]))
            socket.send_fds(ours, [b"!"], [ours.fileno()] * 100)
            with pytest.raises(LimitExceeded, match="passed on"):
                record(client, os.getpid())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    wait_gone(pid)
