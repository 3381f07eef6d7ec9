"""Sending signals to processes and threads."""

from __future__ import annotations

import ctypes
import errno
import os
import signal

from utraced.kernel.proc import Process

_PIDFD_THREAD = os.O_EXCL
"""Linux 6.9: a pidfd of one thread."""
_libc = ctypes.CDLL(None, use_errno=True)


def send(pid: int, start_time: int, tid: int | None, number: int) -> None:
    """Send signal ``number`` to process ``pid`` that started at ``start_time``, or to its thread ``tid`` alone.

    Raises OSError: ESRCH where there is no such thread, EPERM; NoSuchProcess where the process is another by now.
    """
    try:
        pidfd = os.pidfd_open(pid) if tid is None else os.pidfd_open(tid, _PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL or tid is None:
            raise
        _send_by_number(pid, start_time, tid, number)
        return
    try:
        # What the descriptor is of it stays, whoever has the number by the time the signal is sent.
        _check(pid, start_time, tid)
        signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def _check(pid: int, start_time: int, tid: int | None) -> None:
    """Raise NoSuchProcess or ProcessLookupError unless the process is that one, and has that thread."""
    with Process(pid, start_time):
        if tid is not None and not os.path.exists(f"/proc/{pid}/task/{tid}"):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _send_by_number(pid: int, start_time: int, tid: int, number: int) -> None:
    """Do so on a kernel that has no pidfd of a thread (tgkill(2))."""
    _check(pid, start_time, tid)
    if _libc.tgkill(pid, tid, number) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
