"""Sending signals to processes and threads."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def send(pid: int, tid: int | None, number: int) -> None:
    """Send signal ``number`` to thread ``tid`` of process ``pid`` (tgkill(2)), or to the process (kill(2)).

    Raises OSError: ESRCH where there is no such thread, EPERM.
    """
    if tid is None:
        os.kill(pid, number)
    elif _libc.tgkill(pid, tid, number) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
