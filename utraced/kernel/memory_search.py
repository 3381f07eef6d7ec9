"""Finding bytes in a process's memory, in bounded space and time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import NamedTuple

from utraced.api.map_records import MapRecord
from utraced.errors import NoSuchProcess

from .maps import read_maps
from .memory import Span
from .proc import Process
from .residency import PAGE, resident

CHUNK = 256 << 10
"""Bytes looked at together: Python's lock is let go between them."""
STEP = 1 << 30
"""Bytes of address space of which is asked together what is in memory."""
KERNELS = frozenset({b"[vvar]", b"[vvar_vclock]", b"[vsyscall]"})
"""Mappings whose pages are the kernel's."""
IN_MEMORY = (b"/memfd:", b"/SYSV", b"/dev/")
"""Files that are nothing but memory: to read what was never written there would take some."""


class Found(NamedTuple):
    """The addresses found, and where to go on looking: None where all was looked at."""

    addresses: list[int]
    next: int | None


class Search:
    """Finds every place within a range at which ``pattern`` stands, overlapping ones too.

    What is looked at is all that the process may read and that is there: no devices, and of shared mappings and those
    without a file only what is in memory or swapped out.  It ends after ``limit`` addresses, or ``seconds``.
    """

    def __init__(self, pattern: bytes, within: Span, *, limit: int, seconds: float) -> None:
        self._pattern = pattern
        self._within = within
        self._limit = limit
        self._seconds = seconds
        self._deadline = 0.0
        self._found: list[int] = []
        self._at = within[0]
        self._ended = False
        self.abandoned = False
        """Set from another thread, it ends the search soon: nobody wants what it finds."""

    def run(self, process: Process) -> Found:
        """Search; raises NoSuchProcess and PermissionError."""
        memory, pagemap = process.open("mem"), process.open("pagemap")
        try:
            maps = read_maps(process)
            self._deadline = monotonic() + self._seconds
            for start, end in joined(self._spans(maps, pagemap)):
                more = self._look(memory, start, end)
                if more is not None:
                    return Found(self._found, more)
            # A place that begins before where we ended may end behind it.
            return Found(self._found, self._at - len(self._pattern) + 1 if self._ended else None)
        except ProcessLookupError:
            raise NoSuchProcess(f"process {process.pid} has ended", pid=process.pid) from None
        finally:
            os.close(memory)
            os.close(pagemap)

    def _over(self) -> bool:
        return self.abandoned or monotonic() > self._deadline

    def _spans(self, maps: Iterable[MapRecord], pagemap: int) -> Iterator[Span]:
        """Yield what is to be looked at, in order; ends early, at ``_at``, where it takes too long."""
        for each in maps:
            start, end = max(each.start, self._within[0]), min(each.end, self._within[1])
            if start >= end or not each.perms.startswith("r") or is_device(each):
                continue
            if is_file(each):
                yield start, end
                continue
            last = -(-end // PAGE) * PAGE
            for at in range(start & -PAGE, last, STEP):
                for first, until in resident(pagemap, at, min(at + STEP, last)):
                    yield max(first, start), min(until, end)
                self._at = min(at + STEP, end)
                # There must be something to go on from.
                if self._over() and self._at - self._within[0] >= len(self._pattern):
                    self._ended = True
                    return

    def _look(self, memory: int, start: int, end: int) -> int | None:
        """Look at one span; return where to go on where that is not behind its end."""
        pattern, at, tail = self._pattern, start, b""
        while at < end:
            data = _read(memory, at, min(CHUNK, end - at))
            if not data:  # gone meanwhile, or of a file that ends before its mapping
                at, tail = (at // PAGE + 1) * PAGE, b""
            else:
                first = at - len(tail)
                data = tail + data
                for offset in occurrences(data, pattern):
                    if len(self._found) == self._limit:
                        return first + offset
                    self._found.append(first + offset)
                at = first + len(data)
                tail = data[len(data) - min(len(data), len(pattern) - 1) :]
            if at < end and self._over():
                return at - len(tail)
        return None


def is_device(mapping: MapRecord) -> bool:
    """Tell whether to read a mapping may do something else than read memory."""
    path = mapping.path or b""
    return path in KERNELS or (
        path.startswith(b"/dev/") and not path.startswith((b"/dev/shm/", b"/dev/zero", b"/dev/hugepages/"))
    )


def is_file(mapping: MapRecord) -> bool:
    """Tell whether a mapping is of a file which can be read where it is not in memory yet."""
    path = mapping.path or b""
    return mapping.inode != 0 and mapping.perms.endswith("p") and not path.startswith(IN_MEMORY)


def joined(parts: Iterable[Span]) -> Iterator[Span]:
    """Yield parts that follow each other without a gap as one."""
    start = end = 0
    for first, last in parts:
        if first != end:
            if end > start:
                yield start, end
            start = first
        end = last
    if end > start:
        yield start, end


def occurrences(data: bytes, pattern: bytes) -> Iterator[int]:
    """Yield every offset in ``data`` at which ``pattern`` stands."""
    offset = data.find(pattern)
    while offset >= 0:
        yield offset
        offset = data.find(pattern, offset + 1)


def _read(memory: int, address: int, size: int) -> bytes:
    """Return what can be read at an address, as far as it can."""
    try:
        return os.pread(memory, size, address)
    except (OSError, OverflowError):
        return b""
