"""Forked processes that do what a test says, when it says so, and hold none of the test's other descriptors."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.children import fork, libc
from utraced.kernel import ptrace

PATIENCE = 30.0
SYS_EXIT = 60
WALL = 0x4000_0000
ENDED_BADLY = 99


class Side:
    """What a target has: it may speak, and wait for the word of its test."""

    def say(self, text: bytes) -> None:
        """Say something to the test."""
        os.write(1, text)

    def wait(self) -> None:
        """Wait for ``go``; where the test is over instead, end."""
        if not os.read(0, 1):
            os._exit(ENDED_BADLY)


class Target:
    """A target: its pid, and the ends of its pipes."""

    def __init__(self, pid: int, tell: int, listen: int) -> None:
        self.pid = pid
        self._tell = tell
        self._listen = listen
        self._heard = b""

    def go(self) -> None:
        """Let it go on to its next wait; nothing where it has ended."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._tell, b"!")

    def said(self, text: bytes) -> bool:
        """Tell whether it has said ``text`` by now."""
        with contextlib.suppress(BlockingIOError):
            self._heard += os.read(self._listen, 4096)
        return text in self._heard

    def hear(self, text: bytes) -> None:
        """Wait until it has said ``text``."""
        while not self.said(text):
            poll = select.poll()
            poll.register(self._listen, select.POLLIN)
            assert poll.poll(PATIENCE * 1000), f"never said: {text!r}"


@contextmanager
def target(act: Callable[[Side], object] = lambda _: None) -> Iterator[Target]:
    """Give a process that waits for ``go``, does ``act``, and exits with what that returns, else 0.

    At the end it is killed, and reaped where its tracer has not done so.
    """
    gate, tell = os.pipe()
    listen, speak = os.pipe()
    os.set_blocking(listen, False)
    pid = fork()
    if pid == 0:
        _live(gate, speak, act)
    os.close(gate)
    os.close(speak)
    pidfd = os.pidfd_open(pid)
    found = Target(pid, tell, listen)
    try:
        found.hear(b"ready")
        yield found
    finally:
        os.close(tell)
        os.close(listen)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        with contextlib.suppress(ChildProcessError):
            _reap(pid)


def _reap(pid: int) -> None:
    """Reap what was killed, and first its threads where they are traced; one may stop a last time."""
    while True:
        tid, status = os.waitpid(-1, WALL)
        if os.WIFSTOPPED(status):
            ptrace.attempt(ptrace.PTRACE_CONT, tid)
        elif tid == pid:
            return


def _live(gate: int, speak: int, act: Callable[[Side], object]) -> None:
    """Be the target."""
    code = ENDED_BADLY
    try:
        errors = os.dup(2)
        os.dup2(gate, 0)
        os.dup2(speak, 1)
        os.dup2(errors, 2)
        os.closerange(3, 1 << 16)
        side = Side()
        side.say(b"ready")
        side.wait()
        code = int(act(side) or 0)  # type: ignore[call-overload]
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def threads_then(count: int, then: Callable[[Side], object] = lambda side: side.wait()) -> Callable[[Side], object]:
    """Return an act: start ``count`` threads that wait for ever, say ``started``, and do ``then``."""

    def act(side: Side) -> object:
        never = threading.Event()
        for _ in range(count):
            threading.Thread(target=never.wait, daemon=True).start()
        side.say(b"started")
        return then(side)

    return act


def end_thread() -> None:
    """End the calling thread alone, as pthread_exit does: a leader stays as a zombie until the others end."""
    libc().syscall(SYS_EXIT, 0)


def spin(side: Side) -> None:
    """Say ``spinning`` and make system calls for ever."""
    side.say(b"spinning")
    while True:
        os.getppid()


def make_calls(count: int) -> Callable[[Side], object]:
    """Return an act: call getppid ``count`` times, say ``done``, wait."""

    def act(side: Side) -> object:
        for _ in range(count):
            os.getppid()
        side.say(b"done")
        side.wait()
        return 0

    return act
