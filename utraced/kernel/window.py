"""A client's memory file, mapped here so that another process's memory can be copied straight into it.

The mapping is kept from one request to the next: pages that are there already are filled six to eight times as fast as
new ones.  Only the kernel writes through it.  The client may make its file smaller at any time: that is EFAULT for the
kernel, where it would be SIGBUS for us.
"""

from __future__ import annotations

import ctypes
import mmap
import os


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_readv = ctypes.CDLL(None, use_errno=True)["process_vm_readv"]
_readv.argtypes = [
    ctypes.c_int,
    ctypes.POINTER(_Iovec),
    ctypes.c_ulong,
    ctypes.POINTER(_Iovec),
    ctypes.c_ulong,
    ctypes.c_ulong,
]
_readv.restype = ctypes.c_ssize_t


class Window:
    """A mapping of the first ``size`` bytes of a memory file, which is made larger where it is smaller.

    Raises OSError where the file cannot be mapped or made larger.
    """

    PIECE = 4 << 20
    """Bytes copied between looks at the clock."""

    def __init__(self, fd: int, size: int) -> None:
        if os.fstat(fd).st_size < size:
            os.ftruncate(fd, size)
        self._file = _identity(fd)
        self._map = mmap.mmap(fd, size)
        self.view = memoryview(self._map)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def serves(self, fd: int, size: int) -> bool:
        """Tell whether this is a mapping of that very file, of at least ``size`` bytes which are still there."""
        return len(self.view) >= size and _identity(fd) == self._file and os.fstat(fd).st_size >= size

    def take(self, pid: int, address: int, at: int, size: int) -> int:
        """Copy memory of a process to offset ``at``, as far as it may be read; return how many bytes.

        The caller makes sure that the process still is the one that was meant (it takes a pid).
        """
        local, remote = _Iovec(self._address + at, size), _Iovec(address, size)
        copied: int = _readv(pid, local, 1, remote, 1, 0)
        return max(0, copied)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
