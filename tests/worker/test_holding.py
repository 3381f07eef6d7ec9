"""A recorded trace that loses nothing, of processes faster than its client: they are held until that has caught up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest

from tests.children import fork, gated, needs_root
from tests.kernel.recording import needs_bpf
from tests.live.machine import children, state, tracer, until
from tests.worker.embedded import adopting, client
from utracectl.client import Client
from utraced.api import events, trace
from utraced.attacher.starting import start
from utraced.worker import recording

CALLS = 120_000
"""More than fits what may wait and the session's queue; their records are 20 MB."""
AT_ONCE, PAUSE = 2_000, 0.01
"""Calls, and seconds after them: where the worker gets no CPU for a while, it finds them at it still."""
CHILDREN = 2
pytestmark = needs_root


@pytest.fixture(autouse=True)
def _adopting() -> Iterator[None]:
    needs_bpf()
    with adopting():
        yield


def hold_soon() -> None:
    """Have less wait than usual."""
    recording.MOST_HELD, recording.BRAKE_AT, recording.RELEASE_AT = 12 << 20, 4 << 20, 2 << 20


def flood() -> None:
    """Have children make calls, and wait for their ends."""
    os.closerange(3, 1 << 16)  # the client's socket is to be the client's alone
    for _ in range(CHILDREN):
        if fork() == 0:
            for _ in range(CALLS // AT_ONCE):
                for _ in range(AT_ONCE):
                    os.getppid()
                time.sleep(PAUSE)
            os._exit(0)
    for _ in range(CHILDREN):
        assert os.wait()[1] == 0


@contextmanager
def flooded(
    deliver: Literal["events", "raw"] = "events", *, ends: int = 0
) -> Iterator[tuple[Client, int, trace.Started]]:
    """Give a client that does not read, and a process whose children wait for it to."""
    with client(hold_soon, start, ends=ends) as found, gated(flood) as (pid, go):
        started = found.call(
            trace.Start(
                pid=pid, backend="kernel", deliver=deliver, follow=True, overflow="block", syscalls=("getppid",)
            )
        )
        go()
        until(lambda: any(state(each) == "t" for each in children(pid)), "one that is held")
        yield found, pid, started


def ends_well(pid: int) -> None:
    """Wait for the end of a child, whose own children have ended well then."""
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert result is not None
    assert (result.si_code, result.si_status) == (os.CLD_EXITED, 0)


def until_over(found: Client) -> events.Detached:
    """Return the last event."""
    for event in found.events():
        if isinstance(event, events.Detached):
            return event
    raise AssertionError


@pytest.mark.parametrize(("deliver", "each"), [("events", 1), ("raw", 2)])
def test_nothing_is_lost(deliver: Literal["events", "raw"], each: int) -> None:
    with flooded(deliver) as (found, pid, _):
        detached = until_over(found)
        assert (detached.reason, detached.lost) == ("target_exited", 0)
        assert detached.delivered >= each * CHILDREN * CALLS
        ends_well(pid)


def test_the_end_of_the_trace_lets_them_go_on() -> None:
    with flooded() as (found, pid, started):
        found.call(trace.Stop(trace=started.trace))
        assert all(tracer(each) == 0 for each in children(pid))
        ends_well(pid)


def test_the_end_of_the_client_lets_them_go_on() -> None:
    with flooded() as (found, pid, _):
        found.close()
        ends_well(pid)


def test_a_worker_that_is_killed_leaves_nobody_stopped() -> None:
    with flooded(ends=-signal.SIGKILL) as (_, pid, _):
        (held, *_) = [each for each in children(pid) if state(each) == "t"]
        os.kill(tracer(held), signal.SIGKILL)
        ends_well(pid)
