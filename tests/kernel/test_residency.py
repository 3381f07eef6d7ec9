import ctypes
import errno
import fcntl
import mmap
import os

import pytest

from utraced.kernel import residency
from utraced.kernel.residency import PAGE, at_hand, resident

PAGES = 8


@pytest.fixture
def pagemap():
    fd = os.open("/proc/self/pagemap", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def area():
    """Give the address of pages of our own of which the first, the third and the fourth were written."""
    area = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    for page in (0, 2, 3):
        area[page * PAGE] = 1
    hold = (ctypes.c_char * len(area)).from_buffer(area)
    yield ctypes.addressof(hold)
    del hold
    area.close()


def test_what_is_there_is_at_hand(area, pagemap):
    for writing in (False, True):
        assert at_hand(pagemap, area, PAGE, writing=writing)
        assert at_hand(pagemap, area + 2 * PAGE + 100, 2 * PAGE - 100, writing=writing)
        assert not at_hand(pagemap, area, PAGE + 1, writing=writing)
        assert not at_hand(pagemap, area + PAGE - 1, 2, writing=writing)
        assert not at_hand(pagemap, 0, 1, writing=writing)
        assert not at_hand(pagemap, (1 << 64) - 8, 8, writing=writing)


def test_pages_of_files_are_at_hand_for_reading_only(tmp_path, pagemap):
    path = tmp_path / "file"
    path.write_bytes(b"x" * PAGE)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), PAGE) as area:
        assert area[0] == ord("x")
        address = ctypes.addressof(ctypes.c_char.from_buffer(area))
        assert at_hand(pagemap, address, 10, writing=False)
        assert not at_hand(pagemap, address, 10, writing=True)


def parts(area, pagemap):
    """Return the resident parts of the area, joined, in pages."""
    found = []
    for start, end in resident(pagemap, area, area + PAGES * PAGE):
        if found and found[-1][1] == (start - area) // PAGE:
            found[-1] = (found[-1][0], (end - area) // PAGE)
        else:
            found.append(((start - area) // PAGE, (end - area) // PAGE))
    return found


def test_parts_in_memory(area, pagemap):
    assert parts(area, pagemap) == [(0, 1), (2, 4)]
    assert list(resident(pagemap, area, area)) == []


def test_more_parts_than_are_asked_for_at_once(area, pagemap, monkeypatch):
    monkeypatch.setattr(residency, "_REGIONS", 1)
    assert parts(area, pagemap) == [(0, 1), (2, 4)]


@pytest.mark.parametrize("words", [1, 3, 65_536])
def test_a_kernel_that_has_to_be_asked_page_by_page(area, pagemap, monkeypatch, words):
    def refuse(*_):
        raise OSError(errno.ENOTTY, "not a typewriter")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(residency, "_WORDS", words)
    assert parts(area, pagemap) == [(0, 1), (2, 4)]


def test_other_errors_are_raised(area, pagemap, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ESRCH, "no such process")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(ProcessLookupError):
        list(resident(pagemap, area, area + PAGE))
