import ctypes
import itertools
import mmap
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.children import child, ended
from tests.kernel.targets import target
from utraced.api.map_records import MapRecord
from utraced.errors import NoSuchProcess
from utraced.kernel import memory_search
from utraced.kernel.memory_search import CHUNK, Search, is_device, is_file, joined, occurrences
from utraced.kernel.proc import Process
from utraced.kernel.residency import PAGE

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
EVERYWHERE = (0, 1 << 64)
GIGABYTE = 1 << 30


class Area:
    """Memory of ours, which children have at the same address."""

    def __init__(self, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, fd=-1):
        self.map = mmap.mmap(fd, size, flags=flags)
        self._hold = ctypes.c_char.from_buffer(self.map)
        self.address = ctypes.addressof(self._hold)
        self.span = (self.address, self.address + size)

    def put(self, offset, data):
        self.map[offset : offset + len(data)] = data
        return self.address + offset


def look(pid, pattern, within=EVERYWHERE, *, limit=1000, seconds=30.0):
    with Process(pid) as process:
        return Search(pattern, within, limit=limit, seconds=seconds).run(process)


def secret():
    """Return bytes that stand nowhere else."""
    return os.urandom(16)


def test_everything_is_found_across_pages_chunks_and_mappings():
    pattern = secret()
    area = Area(4 * CHUNK)
    offsets = (0, PAGE - 8, PAGE + 100, CHUNK - 1, 2 * CHUNK - 15, 3 * CHUNK - 8, 4 * CHUNK - 16)
    expected = [area.put(offset, pattern) for offset in offsets]
    # One mapping becomes two, and the place between them is in the middle of one that is found.
    assert LIBC.mprotect(area.address + 3 * CHUNK, CHUNK, mmap.PROT_READ) == 0
    with child() as pid:
        assert look(pid, pattern, area.span) == (expected, None)
        found = look(pid, pattern)
        assert set(expected) <= set(found.addresses)
        assert found.addresses == sorted(found.addresses)


def test_places_that_overlap_are_all_found():
    area = Area(PAGE)
    area.put(10, b"abababa")
    with child() as pid:
        assert look(pid, b"aba", area.span).addresses == [area.address + offset for offset in (10, 12, 14)]


def test_only_as_a_whole_within_the_range():
    pattern = secret()
    area = Area(4 * PAGE)
    start = area.put(PAGE - 8, pattern)
    with child() as pid:
        assert look(pid, pattern, (start, start + 16)).addresses == [start]
        assert look(pid, pattern, (start + 1, start + 16)).addresses == []
        assert look(pid, pattern, (start, start + 15)).addresses == []
        assert look(pid, pattern, (start, start)).addresses == []
        assert look(pid, pattern, (start + 16, start)) == ([], None)


def test_a_limit_and_how_to_go_on():
    pattern = secret()
    area = Area(2 * CHUNK)
    expected = [area.put(offset, pattern) for offset in range(0, 2 * CHUNK, 5 * PAGE + 16)]
    with child() as pid:
        found, at = [], area.address
        while at is not None:
            part = look(pid, pattern, (at, area.span[1]), limit=3)
            assert len(part.addresses) <= 3
            found += part.addresses
            at = part.next
        assert found == expected
        assert look(pid, pattern, area.span, limit=len(expected)).next is None


def test_a_time_limit_and_how_to_go_on():
    pattern = secret()
    area = Area(4 * CHUNK)
    area.put(0, b"x" * 4 * CHUNK)
    expected = [area.put(offset, pattern) for offset in (CHUNK - 8, 3 * CHUNK)]
    with child() as pid:
        found, at, parts = [], area.address, 0
        while at is not None:
            part = look(pid, pattern, (at, area.span[1]), seconds=-1.0)
            assert part.next is None or part.next > at
            found += part.addresses
            at = part.next
            parts += 1
        assert found == expected
        assert parts > 2


def test_who_is_told_that_nobody_wants_it_ends():
    area = Area(4 * CHUNK)
    for at in range(0, 4 * CHUNK, PAGE):
        area.put(at, b"x")
    with child() as pid, Process(pid) as process:
        search = Search(b"never there", area.span, limit=1, seconds=30.0)
        search.abandoned = True
        assert search.run(process).next is not None


def test_what_was_never_written_takes_no_memory_and_no_time():
    area = Area(256 * GIGABYTE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
    pattern = secret()
    expected = [area.put(offset, pattern) for offset in (5 * GIGABYTE - 8, 255 * GIGABYTE)]
    shared = os.memfd_create("test")
    os.ftruncate(shared, 64 * GIGABYTE)
    file = Area(64 * GIGABYTE, mmap.MAP_SHARED, shared)
    expected_there = file.put(33 * GIGABYTE, pattern)
    with child(lambda: file.map[33 * GIGABYTE]) as pid:
        assert look(pid, pattern, area.span) == (expected, None)
        assert look(pid, pattern, file.span) == ([expected_there], None)
    assert os.fstat(shared).st_blocks * 512 < 16 << 20
    os.close(shared)


def test_holes_and_what_nobody_may_read_are_passed_over():
    pattern = secret()
    area = Area(4 * PAGE)
    for page in range(4):
        area.put(page * PAGE + 5, pattern)
    assert LIBC.munmap(area.address + PAGE, PAGE) == 0
    with target(lambda side: (LIBC.mprotect(area.address + 2 * PAGE, PAGE, 0), side.say(b"done"), side.wait())) as it:
        it.go()
        it.hear(b"done")
        assert look(it.pid, pattern, area.span).addresses == [area.address + 5, area.address + 3 * PAGE + 5]
    LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    LIBC.mmap(area.address + PAGE, PAGE, 3, 0x32, -1, 0)


def test_files_are_read_where_they_are_mapped(tmp_path):
    pattern = secret()
    path = tmp_path / "file"
    path.write_bytes(b"x" * (CHUNK - 3) + pattern + b"x" * CHUNK)
    with path.open("r+b") as file:
        area = Area(2 * CHUNK, mmap.MAP_PRIVATE, file.fileno())
        with child() as pid:
            assert look(pid, pattern, area.span).addresses == [area.address + CHUNK - 3]
            # Behind the end of the file there is nothing, and looking for it harms nobody.
            os.truncate(path, PAGE)
            assert look(pid, pattern, area.span) == ([], None)


def test_who_is_gone():
    with pytest.raises(NoSuchProcess):
        look(ended(), b"x")


def test_one_that_ends_meanwhile(monkeypatch):
    area = Area(CHUNK)
    area.put(0, b"x" * CHUNK)
    with target() as found:
        read = os.pread

        def ending(fd, size, offset):
            if threading.current_thread() is threading.main_thread() and size >= PAGE:
                os.kill(found.pid, 9)
                os.waitid(os.P_PID, found.pid, os.WEXITED | os.WNOWAIT)
            return read(fd, size, offset)

        monkeypatch.setattr(memory_search.os, "pread", ending)
        assert look(found.pid, b"x", area.span).addresses == []


def record(path=None, perms="r--p", inode=0):
    return MapRecord(0, PAGE, perms, 0, 0, 0, inode, path, False)


@pytest.mark.parametrize(
    ("path", "device"),
    [
        (b"[vvar]", True),
        (b"[vvar_vclock]", True),
        (b"[vsyscall]", True),
        (b"/dev/mem", True),
        (b"/dev/dri/card0", True),
        (b"/dev/shm/x", False),
        (b"/dev/zero", False),
        (b"[vdso]", False),
        (b"[heap]", False),
        (b"/usr/lib/x.so", False),
        (None, False),
    ],
)
def test_devices(path, device):
    assert is_device(record(path)) is device


@pytest.mark.parametrize(
    ("path", "perms", "inode", "file"),
    [
        (b"/usr/lib/x.so", "r-xp", 7, True),
        (b"/usr/lib/x.so", "r--s", 7, False),
        (b"/memfd:x", "rw-p", 7, False),
        (b"/SYSV00000000", "rw-s", 7, False),
        (b"/dev/shm/x", "rw-p", 7, False),
        (b"[heap]", "rw-p", 0, False),
        (None, "rw-p", 0, False),
    ],
)
def test_files(path, perms, inode, file):
    assert is_file(record(path, perms, inode)) is file


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5))))
def test_joining_changes_nothing_but_the_number_of_parts(gaps):
    parts, at = [], 0
    for gap, size in gaps:
        parts.append((at + gap, at + gap + size))
        at += gap + size
    whole = list(joined(parts))
    assert [n for start, end in whole for n in range(start, end)] == [n for s, e in parts for n in range(s, e)]
    assert all(first[1] < second[0] for first, second in itertools.pairwise(whole))


@given(st.binary(max_size=50), st.binary(min_size=1, max_size=4))
def test_occurrences_are_all_there_are(data, pattern):
    assert list(occurrences(data, pattern)) == [
        at for at in range(len(data)) if data[at : at + len(pattern)] == pattern
    ]
