"""perf_event_open(2): events of tracepoints of one thread on one CPU, and the ring that they write to.

kernel/events/core.c.  What is inherited by a thread's children writes to the same ring.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct

from utraced.arch.x86_64 import NR_PERF_EVENT_OPEN

INHERIT, TASK, SAMPLE_ID_ALL, COMM, COMM_EXEC = 1 << 1, 1 << 13, 1 << 18, 1 << 9, 1 << 24
INHERIT_THREAD = 1 << 35
"""Only by threads, not by other children (Linux 5.13)."""
_WATERMARK, _USE_CLOCKID = 1 << 14, 1 << 25
"""Bits of struct perf_event_attr (include/uapi/linux/perf_event.h)."""
SAMPLE_TID, SAMPLE_TIME, SAMPLE_RAW, SAMPLE_REGS_USER = 1 << 1, 1 << 2, 1 << 10, 1 << 12
_NEVER = 0xFFFFFFFF
"""Bytes, after which somebody is woken: nobody waits, and to wake for each sample would cost a multiple of it."""
_FORMAT_LOST = 1 << 4
"""Linux 6.0."""
_TRACEPOINT = 2
_ATTR = struct.Struct("=IIQQQQQIIQQQQIiQIHHIIQQ")
_CLOEXEC = 8
_SET_OUTPUT, _SET_FILTER, _DISABLE = 0x2405, 0x40082406, 0x2401
"""PERF_EVENT_IOC_*."""
_CLOCK_MONOTONIC = 1
_VALUES = struct.Struct("=QQ")
_HEAD, _TAIL = 128, 129
"""data_head and data_tail in the first page of a ring, counted in words."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc["syscall"]
_syscall.restype = ctypes.c_long


def open_event(  # noqa: PLR0913 - what distinguishes events
    tracepoint: int, tid: int, cpu: int, *, flags: int, sample: int, registers: int = 0
) -> int:
    """Return an event, close-on-exec, of the tracepoint with this number in tracefs, that runs from now on.

    ``flags``, ``sample``: bits as above; ``registers``: which are sampled (arch/x86/include/uapi/asm/perf_regs.h).
    Raises OSError.
    """
    attributes = _ATTR.pack(
        _TRACEPOINT, _ATTR.size, tracepoint, 1, sample, _FORMAT_LOST, flags | _USE_CLOCKID | _WATERMARK,
        _NEVER, 0, 0, 0, 0,
        registers, 0, _CLOCK_MONOTONIC, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    result: int = _syscall(
        ctypes.c_long(NR_PERF_EVENT_OPEN), ctypes.create_string_buffer(attributes, len(attributes)),
        ctypes.c_int(tid), ctypes.c_int(cpu), ctypes.c_int(-1), ctypes.c_ulong(_CLOEXEC),
    )  # fmt: skip
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def set_filter(fd: int, expression: str) -> None:
    """Have an event look only at what an expression says (Documentation/trace/events.rst); raises OSError."""
    # What can be changed in place may be longer than 1024 bytes.
    fcntl.ioctl(fd, _SET_FILTER, bytearray(expression.encode() + b"\0"))


def redirect(fd: int, to: int) -> None:
    """Have an event write to the ring of another, of the same CPU; raises OSError."""
    fcntl.ioctl(fd, _SET_OUTPUT, to)


def disable(fd: int) -> None:
    """End an event, and what has been inherited from it; raises OSError."""
    fcntl.ioctl(fd, _DISABLE, 0)


def lost(fd: int) -> int:
    """Return how many samples of an event, and of what has been inherited from it, found no room; raises OSError."""
    return int(_VALUES.unpack(os.read(fd, _VALUES.size))[1])


class PerfRing:
    """The ring of an event, of ``size`` bytes, a power of two; raises OSError (EPERM where that is too much)."""

    def __init__(self, fd: int, size: int) -> None:
        self.size = size
        page = mmap.PAGESIZE
        self._mapped = mmap.mmap(fd, page + size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # One 8-byte load or store each, which on x86-64 need no barriers (total store order).
        self._positions = memoryview(self._mapped)[:page].cast("Q")
        self._data = memoryview(self._mapped)[page:]

    def take(self) -> bytes:
        """Return what is there, whole records, and make room."""
        begin, end = self._positions[_TAIL], self._positions[_HEAD]
        if begin == end:
            return b""
        start, count = begin & (self.size - 1), end - begin
        data = bytes(self._data[start : start + count])
        if len(data) < count:
            data += bytes(self._data[: count - len(data)])
        self._positions[_TAIL] = end
        return data

    def close(self) -> None:
        """Unmap it."""
        self._positions.release()
        self._data.release()
        self._mapped.close()
