"""Reading a ring: made in a file, which the kernel's writer is not needed for."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.kernel.bpf_layout import COUNTERS
from utraced.kernel.bpf_ring import Counters, Ring, _whole

SIZE = 4096
BUSY, DISCARD = 1 << 31, 1 << 30


class Written:
    """A ring and its counters, as the kernel would have written them."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * SIZE)
        self.counters = os.memfd_create("counters")
        os.ftruncate(self.counters, mmap.PAGESIZE)
        self.produced = 0

    def write(self, payload: bytes, flags: int = 0) -> bytes:
        record = struct.pack("<II", len(payload) | flags, 0) + payload
        record += bytes(-len(record) % 8)
        for index, byte in enumerate(record):
            place = (self.produced + index) % SIZE
            for start in (place, place + SIZE):  # both views of the same memory
                os.pwrite(self.fd, bytes([byte]), 2 * mmap.PAGESIZE + start)
        self.produced += len(record)
        os.pwrite(self.fd, self.produced.to_bytes(8, "little"), mmap.PAGESIZE)
        return record


@pytest.fixture
def written() -> Iterator[Written]:
    made = Written()
    yield made
    os.close(made.fd)
    os.close(made.counters)


@pytest.fixture
def ring(written: Written) -> Iterator[Ring]:
    made = Ring(written.fd, written.counters, SIZE)
    yield made
    made.close()


def test_an_empty_ring_has_nothing(ring: Ring) -> None:
    assert ring.take() == b""
    assert ring.waiting == 0


def test_records_are_taken_once_and_in_order(written: Written, ring: Ring) -> None:
    records = written.write(b"one") + written.write(b"and another")
    assert ring.waiting == len(records)
    assert ring.take() == records
    assert ring.take() == b""


def test_no_more_is_taken_than_asked_for_but_whole_records(written: Written, ring: Ring) -> None:
    first, second = written.write(bytes(24)), written.write(bytes(40))
    assert ring.take(40) == first
    assert ring.take(8) == second


def test_what_is_being_written_is_left(written: Written, ring: Ring) -> None:
    first = written.write(b"done")
    written.write(b"not done", BUSY)
    assert ring.take() == first
    assert ring.take() == b""
    assert ring.waiting


def test_records_go_round(written: Written, ring: Ring) -> None:
    for number in range(200):
        record = written.write(bytes([number]) * 100)
        assert ring.take() == record


def test_counters_are_read(written: Written, ring: Ring) -> None:
    os.pwrite(written.counters, COUNTERS.pack(-1, 2, 3, 4, 5, 6, 7, True), 0)
    assert ring.counters() == Counters(-1, 2, 3, 4, 5, 6, 7, True)


@given(st.binary(max_size=200), st.booleans())
def test_the_end_of_whole_records_lies_within(data: bytes, single: bool) -> None:
    end = _whole(data, single=single)
    assert 0 <= end <= len(data)
    assert end % 8 == 0


def test_a_record_that_was_given_up_is_passed_over() -> None:
    assert _whole(struct.pack("<II", 8 | DISCARD, 0) + bytes(8)) == 16
