"""A ring in shared memory, as ``bpf_ring.Ring`` reads it."""

from __future__ import annotations

import mmap
import os
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.kernel.bpf_ring import Ring
from utraced.kernel.memory_ring import MemoryRing

SIZE = 4096


def record(size: int, fill: int) -> bytes:
    """Return a record: its length, which does not count the first 8 bytes, and something."""
    return size.to_bytes(4, "little") + bytes(4) + bytes([fill]) * size + bytes(-size % 8)


@given(st.lists(st.tuples(st.integers(8, 900), st.integers(0, 3)), max_size=60))
def test_what_is_written_is_read_in_order_and_room_comes_back(steps: list[tuple[int, int]]) -> None:
    with closing(MemoryRing(SIZE)) as ring, closing(Ring(ring.fd, ring.counters, SIZE, twice=False)) as reader:
        expected = found = b""
        for fill, (size, takes) in enumerate(steps):
            data = record(size, fill)
            if len(data) <= ring.room:
                ring.write(data)
                expected += data
            for _ in range(takes):
                found += reader.take(1000)
        while data := reader.take():
            found += data
        assert found == expected
        assert ring.room == SIZE
        assert reader.waiting == 0


def test_counters_are_told() -> None:
    with closing(MemoryRing(SIZE)) as ring, closing(Ring(ring.fd, ring.counters, SIZE, twice=False)) as reader:
        ring.count(-1, 6, 1, 2, 3, 0, 0, True)
        counters = reader.counters()
        assert (counters.processes, counters.dropped, counters.entries) == (-1, 6, 1)
        assert counters.silenced is True


@pytest.mark.parametrize("position", [1, SIZE * 2, (1 << 64) - 8])
def test_a_reader_that_lies_gets_nothing_more(position: int) -> None:
    with closing(MemoryRing(SIZE)) as ring:
        with mmap.mmap(ring.fd, mmap.PAGESIZE) as page:
            page[:8] = position.to_bytes(8, "little")
        assert ring.room == 0


def test_a_reader_cannot_take_the_memory_away() -> None:
    with closing(MemoryRing(SIZE)) as ring:
        for fd in (ring.fd, ring.counters):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, 0)
