"""Which pages of a process are in memory (/proc/PID/pagemap): to read others makes them, or waits for a file system."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from struct import Struct

PAGE = 4096
_PRESENT = 1 << 63
_SWAPPED = 1 << 62
_OF_FILE = 1 << 61
_WRITE_PROTECTED = 1 << 57
"""By userfaultfd(2): a write waits for the process."""

_PAGEMAP_SCAN = 0xC060_6610
"""_IOWR('f', 16, struct pm_scan_arg), linux/include/uapi/linux/fs.h, Linux 6.7."""
_SCAN = Struct("=12Q")
_SCAN_PRESENT = 1 << 3
_SCAN_SWAPPED = 1 << 4
_REGION = Struct("=3Q")
_REGIONS = 512
_WORD = Struct("=Q")
_WORDS = 65_536
"""Entries of pagemap that are read at once where there is no PAGEMAP_SCAN: 256 MiB of memory."""


def at_hand(pagemap: int, address: int, size: int, *, writing: bool) -> bool:
    """Tell whether memory can be read, or written, without waiting for anybody: all its pages are there.

    ``pagemap``: a descriptor of the process's.  Of pages of files none is ready to be written, as the file system is
    told of that.
    """
    first = address // PAGE
    count = (address + size - 1) // PAGE - first + 1
    try:
        entries = os.pread(pagemap, 8 * count, 8 * first)
    except (OSError, OverflowError):
        return False
    if len(entries) != 8 * count:
        return False
    for (entry,) in _WORD.iter_unpack(entries):
        if not entry & _PRESENT or (writing and entry & (_OF_FILE | _WRITE_PROTECTED)):
            return False
    return True


def resident(pagemap: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a range, of whole pages, that are in memory or swapped out.  Raises OSError."""
    regions = ctypes.create_string_buffer(_REGION.size * _REGIONS)
    while start < end:
        wanted = _SCAN_PRESENT | _SCAN_SWAPPED
        vector = ctypes.addressof(regions)
        scan = bytearray(_SCAN.pack(_SCAN.size, 0, start, end, 0, vector, _REGIONS, 0, 0, 0, wanted, wanted))
        try:
            count = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, scan)
        except OSError as error:
            if error.errno not in {errno.ENOTTY, errno.EINVAL}:
                raise
            yield from _resident_by_entries(pagemap, start, end)
            return
        for first, last, _ in _REGION.iter_unpack(regions.raw[: _REGION.size * count]):
            yield first, last
        start = _SCAN.unpack(scan)[4]


def _resident_by_entries(pagemap: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Do as ``resident`` before Linux 6.7."""
    begun: int | None = None
    for at in range(start, end, PAGE * _WORDS):
        count = min(_WORDS, (end - at) // PAGE)
        entries = os.pread(pagemap, 8 * count, at // PAGE * 8)
        if begun is None and entries.count(0) == len(entries):
            continue
        for number, (entry,) in enumerate(_WORD.iter_unpack(entries)):
            there = entry & (_PRESENT | _SWAPPED)
            if there and begun is None:
                begun = at + number * PAGE
            elif not there and begun is not None:
                yield begun, at + number * PAGE
                begun = None
    if begun is not None:
        yield begun, end
