"""What is copied of a caller's memory, with real calls."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from tests.children import libc
from tests.kernel.recording import Record, recording, run, taken
from utraced.api import call_records as records


def recorded(call: str, function: Callable[[], object], *, strings: int = 32) -> tuple[Record, Record]:
    """Return entry and exit of the last ``call`` that ``function`` makes."""
    with recording(call, strings=strings) as made:
        run(made, function)
        found, counters = taken(made)
    assert counters.dropped == 0
    entries = [one for one in found if one.what == records.ENTRY]
    exits = [one for one in found if one.what == records.EXIT]
    return entries[-1], exits[-1] if exits else entries[-1]


def texts(record: Record) -> list[tuple[bytes, bool]]:
    return [(one.data, one.ended) for one in record.memory]


def test_a_path_is_whole_whatever_the_limit(tmp_path: Path) -> None:
    name = str(tmp_path / ("x" * 200))
    entry, exit_ = recorded("rmdir", lambda: libc().rmdir(name.encode()), strings=4)
    assert texts(entry) + texts(exit_) == [(name.encode(), True)]
    assert exit_.numbers == (-2,)


def test_a_buffer_is_cut_at_the_limit() -> None:
    entry, _ = recorded("write", lambda: os.write(os.open("/dev/null", os.O_WRONLY), b"0123456789"), strings=4)
    assert [one.data[:4] for one in entry.memory] == [b"0123"]


def test_what_was_read_is_as_long_as_the_result_says() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    entry, exit_ = recorded("read", lambda: os.read(reading, 4000))
    assert entry.memory == []
    assert [one.data for one in exit_.memory] == [b"abc"]


def test_what_failed_has_filled_nothing_in() -> None:
    _, exit_ = recorded("read", lambda: libc().read(-1, bytes(8), 8))
    assert (exit_.numbers, exit_.memory) == ((-9,), [])


def test_the_address_of_a_socket() -> None:
    def connect() -> None:
        with socket.socket() as sock:
            sock.connect_ex(("127.0.0.1", 9))

    entry, _ = recorded("connect", connect)
    (address,) = entry.memory
    assert address.data == struct.pack("<H", socket.AF_INET) + struct.pack(">H4B8x", 9, 127, 0, 0, 1)


def test_a_set_of_descriptors() -> None:
    def select() -> None:
        descriptors = (ctypes.c_char * 128)()
        descriptors[0] = b"\x08"
        libc().select(4, descriptors, None, None, bytes(16))

    entry, _ = recorded("pselect6", select)
    assert entry.memory[0].data == b"\x08" + bytes(7)


def test_memory_ends_where_its_page_does() -> None:
    def at_the_end() -> None:
        page = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        place = address_of(page)
        page[mmap.PAGESIZE - 4 : mmap.PAGESIZE] = b"last"
        libc().munmap(ctypes.c_void_p(place + mmap.PAGESIZE), mmap.PAGESIZE)
        libc().write(1 << 20, ctypes.c_void_p(place + mmap.PAGESIZE - 4), 16)

    entry, _ = recorded("write", at_the_end)
    assert [one.data for one in entry.memory] == [b"last"]


def address_of(page: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(page))


def test_what_was_not_in_memory_is_copied_when_the_call_has_brought_it_in(tmp_path: Path) -> None:
    file = tmp_path / "name"
    file.write_bytes(b"/nowhere/at/all\0".ljust(mmap.PAGESIZE, b"\0"))

    def absent() -> None:
        with file.open("r+b") as opened:
            page = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        place = address_of(page)
        libc().madvise(ctypes.c_void_p(place), mmap.PAGESIZE, 4)  # MADV_DONTNEED: not ours until it is touched
        libc().rmdir(ctypes.c_void_p(place))

    entry, exit_ = recorded("rmdir", absent)
    assert entry.memory == []
    assert [(one.data, one.ended, one.at_entry) for one in exit_.memory] == [(b"/nowhere/at/all", True, True)]


def test_bytes_are_whole_whether_they_are_few_or_many() -> None:
    for size in (1, 7, 8, 31, 32, 33, 64, 100):
        data = bytes(range(1, size + 1))
        entry, _ = recorded("write", lambda data=data: os.write(os.open("/dev/null", os.O_WRONLY), data), strings=200)
        assert [one.data for one in entry.memory] == [data]
