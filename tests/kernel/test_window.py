import ctypes
import mmap
import os

import pytest

from tests.children import child
from utraced.kernel.window import Window
from utraced.linux.memfd import sealed

PAGE = mmap.PAGESIZE
TEXT = ctypes.create_string_buffer(b"what a target has in its memory")
ADDRESS = ctypes.addressof(TEXT)


@pytest.fixture
def memfd():
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


def test_memory_is_copied_into_the_file(memfd):
    window = Window(memfd, 2 * PAGE)
    assert os.fstat(memfd).st_size == 2 * PAGE
    with child() as pid:
        assert window.take(pid, ADDRESS, PAGE - 2, 4) == 4
        assert os.pread(memfd, 8, PAGE - 4) == b"\0\0what\0\0"
        assert window.take(pid, 0, 0, 4) == 0
        assert window.take(pid, 1 << 63, 0, 4) == 0
    assert bytes(window.view[PAGE - 2 : PAGE + 2]) == b"what"


def test_a_larger_file_stays_as_large_as_it_is(memfd):
    os.ftruncate(memfd, 3 * PAGE)
    Window(memfd, 10)
    assert os.fstat(memfd).st_size == 3 * PAGE


def test_it_serves_the_same_file_as_far_as_both_reach(memfd):
    window = Window(memfd, 2 * PAGE)
    again = os.dup(memfd)
    other = os.memfd_create("test")
    os.ftruncate(other, 2 * PAGE)
    assert window.serves(again, 2 * PAGE)
    assert not window.serves(again, 2 * PAGE + 1)
    assert not window.serves(other, PAGE)
    os.ftruncate(memfd, PAGE)
    assert window.serves(again, PAGE)
    assert not window.serves(again, PAGE + 1)
    os.close(again)
    os.close(other)


def test_a_file_cut_short_harms_nobody(memfd):
    window = Window(memfd, 2 * PAGE)
    os.ftruncate(memfd, 0)
    with child() as pid:
        assert window.take(pid, ADDRESS, PAGE, 4) == 0


def test_files_that_cannot_be_mapped_or_made_larger(memfd):
    never = sealed("test", [b"never"])
    reading = os.open(f"/proc/self/fd/{memfd}", os.O_RDONLY)
    os.ftruncate(memfd, PAGE)
    for fd, size in ((never, 5), (never, 6), (reading, PAGE), (reading, 2 * PAGE)):
        with pytest.raises(OSError):  # noqa: PT011 - EPERM, EACCES or EINVAL
            Window(fd, size)
    os.close(never)
    os.close(reading)
