"""A ring of records in memory that is shared with who reads it, and the counters beside: as those that BPF writes.

``bpf_ring.Ring`` reads it.  The reader may write into all of it, and is not believed: he misleads only himself.
"""

from __future__ import annotations

import mmap
import os

from utraced.linux.memfd import of_size

from .bpf_layout import COUNTERS, COUNTERS_SIZE


class MemoryRing:
    """A ring of ``size`` bytes, a power of two; ``fd`` and ``counters`` are what the reader needs.

    Raises OSError.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0
        page = mmap.PAGESIZE
        self.fd = of_size("utraced_ring", 2 * page + size)
        try:
            self.counters = of_size("utraced_count", page)
        except BaseException:
            os.close(self.fd)
            raise
        self._mapped = mmap.mmap(self.fd, 2 * page + size)
        self._counts = mmap.mmap(self.counters, page)
        # One 8-byte load or store each, which on x86-64 need no barriers (total store order).
        self._consumed = memoryview(self._mapped)[:page].cast("Q")
        self._produced = memoryview(self._mapped)[page : 2 * page].cast("Q")
        self._data = memoryview(self._mapped)[2 * page :]

    @property
    def room(self) -> int:
        """How many bytes can be written."""
        waiting = self._position - self._consumed[0]
        return self._size - waiting if 0 <= waiting <= self._size else 0

    def write(self, data: bytes) -> None:
        """Write whole records, for which there is room."""
        start = self._position & (self._size - 1)
        first = min(len(data), self._size - start)
        self._data[start : start + first] = data[:first]
        self._data[: len(data) - first] = data[first:]
        self._position += len(data)
        self._produced[0] = self._position

    def count(self, *counters: int) -> None:
        """Write the counters, as ``COUNTERS`` has them."""
        self._counts[:COUNTERS_SIZE] = COUNTERS.pack(*counters)

    def close(self) -> None:
        """Let go of it; whoever else has it still can read."""
        for view in (self._consumed, self._produced, self._data):
            view.release()
        self._mapped.close()
        self._counts.close()
        os.close(self.fd)
        os.close(self.counters)
