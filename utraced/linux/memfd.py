"""Memory files that a client may map and trust not to change (memfd_create(2))."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterable

_MFD_NOEXEC_SEAL = 0x8
"""Linux 6.3; where the sysctl vm.memfd_noexec is 2 nothing else is allowed."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_SIZE_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

_KEEP_SIZE = 0x1
_PUNCH_HOLE = 0x2
"""linux/include/uapi/linux/falloc.h."""
_fallocate = ctypes.CDLL(None, use_errno=True)["fallocate"]
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def sealed(name: str, parts: Iterable[bytes]) -> int:
    """Return a descriptor, close-on-exec and at offset 0, of a file of these bytes that nobody can change.

    ``name`` only shows in /proc.  Raises OSError (EMFILE, ENOMEM).
    """
    fd = _create(name)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.writelines(parts)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def of_size(name: str, size: int) -> int:
    """Return a descriptor, close-on-exec, of a file of zeros that anybody who has it may write, and nobody can resize.

    Otherwise who has it could take the memory away from under whoever maps it (SIGBUS).  Raises OSError.
    """
    fd = _create(name)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SIZE_SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_memfd(fd: int) -> bool:
    """Tell whether a descriptor is one of memfd_create(2)."""
    return os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:")


def punch(fd: int, start: int, end: int) -> None:
    """Make a part of a file read as zeros and free what it took (fallocate(2)); raises OSError."""
    if _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, end - start) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _create(name: str) -> int:
    """Return a new memory file, not executable where the kernel can say so."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, flags)
