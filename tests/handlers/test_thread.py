"""thread.signal."""

from __future__ import annotations

import os
import resource
import signal

import pytest

from tests.children import child, ended
from tests.handlers.contexts import context
from utraced.api.thread import Signal
from utraced.errors import InvalidParams, LimitExceeded, NoSuchProcess
from utraced.handlers.thread import send_signal
from utraced.model import Empty


def blocked() -> None:
    """Block what the tests send, in a child."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGRTMIN})


def no_queue() -> None:
    """Have no room for real-time signals, in a child."""
    blocked()
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))


def pending(pid: int) -> int:
    """Return the mask of the signals that wait for the one thread of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("SigPnd:"))


@pytest.mark.parametrize("name", ["SIGUSR1", "10", 10])
def test_signals_by_name_and_number(name: str | int) -> None:
    with child(blocked) as pid:
        assert send_signal(Signal(pid=pid, tid=pid, signal=name), context()) == Empty()
        assert pending(pid) == 1 << signal.SIGUSR1 - 1


def test_a_signal_for_the_whole_process() -> None:
    with child(blocked) as pid:
        assert send_signal(Signal(pid=pid, signal="SIGUSR1"), context()) == Empty()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            waiting = next(int(line.split()[1], 16) for line in file if line.startswith("ShdPnd:"))
        assert (waiting, pending(pid)) == (1 << signal.SIGUSR1 - 1, 0)


def test_real_time_signals() -> None:
    with child(blocked) as pid:
        send_signal(Signal(pid=pid, tid=pid, signal=int(signal.SIGRTMIN)), context())
        assert pending(pid) == 1 << signal.SIGRTMIN - 1


def test_no_room_for_real_time_signals() -> None:
    with child(no_queue) as pid:
        with pytest.raises(LimitExceeded):
            send_signal(Signal(pid=pid, tid=pid, signal=int(signal.SIGRTMIN)), context())
        send_signal(Signal(pid=pid, tid=pid, signal="SIGUSR1"), context())


def test_what_is_no_signal() -> None:
    with child() as pid, pytest.raises(InvalidParams, match="SIGNOTHING"):
        send_signal(Signal(pid=pid, tid=pid, signal="SIGNOTHING"), context())


def test_threads_of_others_and_processes_that_have_ended() -> None:
    with child() as pid, pytest.raises(NoSuchProcess, match=f"no thread {os.getpid()}"):
        send_signal(Signal(pid=pid, tid=os.getpid(), signal="SIGUSR1"), context())
    gone = ended()
    with pytest.raises(NoSuchProcess):
        send_signal(Signal(pid=gone, tid=gone, signal="SIGUSR1"), context())
