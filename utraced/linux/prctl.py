"""What a process says about itself to the kernel (prctl(2))."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Literal

_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_PTRACER = 0x59616D61

_libc = ctypes.CDLL(None, use_errno=True)


def set_ptracer(pid: int) -> bool:
    """Let process ``pid`` trace this one under Yama; lasts through exec.  False where there is no Yama."""
    try:
        prctl(_PR_SET_PTRACER, pid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def set_dumpable(value: Literal[0, 1]) -> None:
    """Let (1) or do not let (0) processes of the same user trace this one and read its memory."""
    prctl(_PR_SET_DUMPABLE, value)


def dumpable() -> int:
    """Return 0 (no), 1 (yes) or 2 (to root only), as set_dumpable or an exec left it."""
    return prctl(_PR_GET_DUMPABLE, 0)


def no_new_privs() -> None:
    """Give up, for ever and for all children, that execve raises privileges."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """Be called ``name``, of which the kernel keeps 15 bytes, in ps(1) and the like."""
    buffer = ctypes.create_string_buffer(name.encode())
    prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def prctl(option: int, argument: int) -> int:
    """Ask one thing of the kernel; raises OSError."""
    # Variadic and read by the kernel as five longs: what is not passed would be rubbish.
    zero = ctypes.c_ulong(0)
    result: int = _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
