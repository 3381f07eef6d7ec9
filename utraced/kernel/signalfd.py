"""SIGCHLD as a descriptor: a Python signal handler would overflow the event loop's wake-up pipe in a flood of stops."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

_SIGSET_SIZE = 128
SFD_CLOEXEC = 0o2000000
SFD_NONBLOCK = 0o4000
_libc = ctypes.CDLL(None, use_errno=True)


def open_sigchld() -> int:
    """Block SIGCHLD in this thread and return a non-blocking signalfd(2) for it.

    Raises OSError.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    mask = (ctypes.c_ulong * (_SIGSET_SIZE // 8))()
    mask[0] = 1 << (signal.SIGCHLD - 1)
    fd: int = _libc.signalfd(-1, ctypes.byref(mask), SFD_CLOEXEC | SFD_NONBLOCK)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def drain(fd: int) -> None:
    """Read whatever is pending; signals are merged, so this says only that there is something to wait for."""
    with contextlib.suppress(BlockingIOError):
        os.read(fd, 128 * 4)
