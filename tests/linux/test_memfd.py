import mmap
import os

import pytest

from utraced.linux.memfd import sealed


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
