"""A pid that belongs to another process by the time that somebody uses it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.broker.system import System
from tests.children import child, ended, fork, needs_root
from tests.security.asking import ask, calls, targeting
from tests.worker.daemon import Peer
from utraced.errors import NoSuchProcess
from utraced.kernel.memory import Reader
from utraced.kernel.proc import Process
from utraced.rpc.method import Method

pytestmark = needs_root

LAST_PID = "/proc/sys/kernel/ns_last_pid"
TRIES = 200


def taking(pid: int, prepare: Callable[[], None] = lambda: None) -> int:
    """Fork a child that has this pid, which waits to be killed; others may take it first, or skip the test."""
    for _ in range(TRIES):
        with open(LAST_PID, "w") as file:
            file.write(str(pid - 1))
        found = fork()
        if found == 0:
            try:
                prepare()
                while True:
                    signal.pause()
            finally:
                os._exit(0)
        if found == pid:
            return found
        _end(found)
    pytest.skip(f"others take every pid: {pid} is not to be had")


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _pass_tick(started: int) -> None:
    """Wait until a process would have started at another time, in clock ticks after boot."""
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    while time.clock_gettime_ns(time.CLOCK_BOOTTIME) // tick_ns <= started:
        os.sched_yield()


@pytest.fixture
def reused() -> Any:
    """Give the pid of a process, when the one before it with that pid had started, and a pidfd of that."""
    with child() as first:
        with Process(first) as process:
            started = process.stat().start_time
        pidfd = os.pidfd_open(first)
    _pass_tick(started)
    pid = taking(first)
    yield pid, started, pidfd
    os.close(pidfd)
    _end(pid)


@pytest.mark.parametrize("kind", targeting(), ids=lambda kind: kind.method)
def test_it_is_nobody_by_start_time_and_by_pidfd(
    kind: type[Method[Any]], reused: tuple[int, int, int], daemon: System
) -> None:
    pid, started, pidfd = reused
    with Process(pid) as process:
        assert process.stat().start_time != started
    for members in calls(kind):
        fds = {"fd": 1} if "fd" in members else {}
        with Peer(daemon.address) as peer:
            by_time = ask(peer, kind.method, {**members, "pid": pid, "start_time": started})
            by_pidfd = ask(peer, kind.method, {**members, **fds, "pidfd": 0}, [os.dup(pidfd)])
        assert by_time.error.get("code") == by_pidfd.error.get("code") == -32002, (by_time, by_pidfd)


def test_it_is_noticed_between_the_look_and_the_read(reused: tuple[int, int, int]) -> None:
    pid, started, _ = reused
    with pytest.raises(NoSuchProcess), Reader(pid, started - 1 if started else 1):
        pass


def test_who_has_ended_is_nobody(daemon: System) -> None:
    pid = ended()
    for kind in targeting():
        for members in calls(kind):
            with Peer(daemon.address) as peer:
                assert ask(peer, kind.method, {**members, "pid": pid}).error["code"] == -32002
