"""What signals to utracectl mean while it traces, and how they reach its loop.

A handler does nothing but wake the loop through a pipe (signal.set_wakeup_fd); the loop asks ``Signals.taken``.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""Sent to us while we trace running processes, these ask us to let go of them."""
FORWARDED = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
"""Meant for the command where they are sent to us; those of the keyboard reach it by the terminal."""
_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)
_STOPPING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Signals:
    """The signals of this process, while it traces."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGCHLD):
            self._handle(number)

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``taken`` has something."""
        return self._read

    def with_command(self) -> None:
        """From now on there is a command, which the keyboard's signals are for.

        Call it after the fork: what is ignored here would be ignored there.  Ctrl-Z must not stop us while the command
        goes on, as an editor does: we stop when it has stopped.
        """
        for number in (*_KEYBOARD, *FORWARDED):
            self._handle(number)
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)

    def taken(self) -> set[int]:
        """Return the signals that came since it was last asked."""
        try:
            return set(os.read(self._read, 4096))
        except BlockingIOError:
            return set()

    def end_by_the_next(self) -> None:
        """From now on a signal that asks us to let go ends this process; those that are ignored stay so."""
        for number in ENDING:
            if signal.getsignal(number) is _wake:
                signal.signal(number, signal.SIG_DFL)

    @staticmethod
    def _handle(number: int) -> None:
        """Have ``number`` wake the loop; SIGHUP only where nohup(1) did not have it ignored.

        A shell without job control starts what it puts in the background with SIGINT ignored, which is not to make
        us deaf to it.
        """
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _wake)


def shell_has_job_control() -> bool:
    """Return whether a shell gave us a process group of our own on its terminal, so that it would see us stop."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return os.getpgrp() != os.getsid(0)


def _wake(number: int, frame: FrameType | None) -> None:
    """Do nothing: the interpreter has written ``number`` to the pipe."""
