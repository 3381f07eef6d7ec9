import mmap
import os

import pytest

from utraced.linux.memfd import is_memfd, of_size, punch, sealed


def test_it_holds_the_bytes_and_nobody_can_change_them():
    fd = sealed("name", [b"one", b"", b"two"])
    assert os.read(fd, 100) == b"onetwo"
    for change in (
        lambda: os.pwrite(fd, b"x", 0),
        lambda: os.ftruncate(fd, 1),
        lambda: os.ftruncate(fd, 100),
        lambda: mmap.mmap(fd, 6, mmap.MAP_SHARED, mmap.PROT_WRITE),
    ):
        with pytest.raises(PermissionError):
            change()
    with mmap.mmap(fd, 6, mmap.MAP_SHARED, mmap.PROT_READ) as view:
        assert view[:] == b"onetwo"
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_an_empty_one():
    fd = sealed("name", [])
    assert os.fstat(fd).st_size == 0
    os.close(fd)


def test_nothing_stays_open_when_it_fails():
    before = os.listdir("/proc/self/fd")
    with pytest.raises(TypeError):
        sealed("name", [b"one", 2])
    assert os.listdir("/proc/self/fd") == before


def test_memory_files_are_told_from_others(tmp_path):
    memfd = os.memfd_create("test")
    file = os.open(tmp_path / "memfd:", os.O_RDWR | os.O_CREAT)
    reading, writing = os.pipe()
    assert [is_memfd(fd) for fd in (memfd, sealed("test", []), file, reading)] == [True, True, False, False]
    for fd in (memfd, file, reading, writing):
        os.close(fd)


def test_a_part_is_freed_and_reads_as_zeros():
    fd = os.memfd_create("test")
    os.write(fd, b"x" * 3 * mmap.PAGESIZE)
    punch(fd, 10, 2 * mmap.PAGESIZE)
    assert os.pread(fd, 1 << 20, 0) == b"x" * 10 + bytes(2 * mmap.PAGESIZE - 10) + b"x" * mmap.PAGESIZE
    os.close(fd)
    with pytest.raises(OSError, match="not permitted"):
        punch(sealed("test", [b"never"]), 0, 5)


def test_one_of_a_size_can_be_written_and_not_resized():
    fd = of_size("name", 8192)
    assert os.pread(fd, 9000, 0) == bytes(8192)
    os.pwrite(fd, b"x", 8191)
    for size in (0, 8191, 8193):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_nothing_stays_open_when_one_cannot_have_the_size():
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Invalid argument"):
        of_size("name", -1)
    assert len(os.listdir("/proc/self/fd")) == before
