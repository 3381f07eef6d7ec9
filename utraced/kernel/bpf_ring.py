"""Reading what the programs of a trace wrote: a BPF ring buffer and its counters, mapped into our memory.

kernel/bpf/ringbuf.c: one page with the consumer's position, one with the producer's, then the data, twice in a row, so
that no record is ever cut.  Those of ``memory_ring`` have the data once.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

from .bpf_layout import COUNTERS, COUNTERS_SIZE

_BUSY = 1 << 31
_DISCARD = 1 << 30
_LENGTH = struct.Struct("<I").unpack_from
AT_ONCE = 64 << 10
"""Bytes taken before room is made: the writer goes on meanwhile."""


class Counters(NamedTuple):
    """What a trace has counted.

    ``processes`` in its map, besides the one it began with; records ``dropped`` for want of room, and of those the
    ``entries``, ``exits`` and ``others``; ``faults`` of calls that pointed to what was not there; processes
    ``unfollowed``, for which the map had no room.  ``silenced``: the last one that left stopped to qualify.
    """

    processes: int
    dropped: int
    entries: int
    exits: int
    others: int
    faults: int
    unfollowed: int
    silenced: bool


class Ring:
    """A ring of ``size`` bytes behind ``fd``, and the counters behind ``counters``; neither is closed.

    ``twice``: whether the data is there twice.
    """

    def __init__(self, fd: int, counters: int, size: int, *, twice: bool = True) -> None:
        page = mmap.PAGESIZE
        self._mask = size - 1
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(fd, page + size * (1 + twice), mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._counters = mmap.mmap(counters, page, mmap.MAP_SHARED, mmap.PROT_READ)
        # One 8-byte load or store each, which on x86-64 need no barriers (total store order).
        self._consumed = memoryview(self._consumer).cast("Q")
        self._produced = memoryview(self._producer)[:8].cast("Q")
        self._data = memoryview(self._producer)[page:]

    def take(self, most: int = AT_ONCE) -> bytes:
        """Return whole records of about ``most`` bytes at most, and make room for others; none: there are none."""
        position = self._consumed[0]
        waiting = self._produced[0] - position
        if not waiting:
            return b""
        start = position & self._mask
        data = self._part(start, min(waiting, most))
        end = _whole(data)
        if not end and waiting > most:  # one record larger than ``most``
            data = self._part(start, waiting)
            end = _whole(data, single=True)
        self._consumed[0] = position + end
        return data[:end]

    def _part(self, start: int, count: int) -> bytes:
        data = bytes(self._data[start : start + count])
        return data if len(data) == count else data + bytes(self._data[: count - len(data)])

    @property
    def waiting(self) -> int:
        """How many bytes wait to be taken."""
        return self._produced[0] - self._consumed[0]

    def counters(self) -> Counters:
        """Return the counters as they stand."""
        return Counters(*COUNTERS.unpack(self._counters[:COUNTERS_SIZE]))

    def close(self) -> None:
        """Unmap all."""
        for view in (self._consumed, self._produced, self._data):
            view.release()
        for mapped in (self._consumer, self._producer, self._counters):
            mapped.close()


def _whole(data: bytes, *, single: bool = False) -> int:
    """Return where the last record ends that is whole, and finished by its writer."""
    at, size = 0, len(data)
    while at + 8 <= size:
        (length,) = _LENGTH(data, at)
        if length & _BUSY:
            break
        end = at + ((length & ~_DISCARD) + 15 & ~7)
        if end > size:
            break
        at = end
        if single:
            break
    return at
