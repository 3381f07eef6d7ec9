import ctypes
import os
import threading

import anyio
import pytest

from tests.children import child, ended
from tests.kernel.by_hand import by_hand
from utraced.api.memory import Read
from utraced.errors import BadAddress, InvalidParams, LimitExceeded, NoSuchProcess
from utraced.handlers.limits import MAX_READ
from utraced.linux.memfd import sealed

TEXT = ctypes.create_string_buffer(b"what a target has in its memory")
ADDRESS = ctypes.addressof(TEXT)


@pytest.fixture
def read():
    """Carry out memory.read in an event loop of its own."""
    with child() as pid, by_hand() as hand:

        def ask(*fds, **params):
            async def main():
                return await hand.start(Read(**{"pid": pid, **params}), *fds)

            return anyio.run(main)

        yield ask


def test_memory_comes_in_the_reply(read):
    assert read(address=ADDRESS, size=4).data == b"what"
    assert read(address=ADDRESS, size=4).holes is None
    assert read(address=ADDRESS, size=4, partial=True).holes == ()


def test_a_hole_is_told_or_an_error(read):
    with pytest.raises(BadAddress):
        read(address=0, size=4)
    contents = read(address=0, size=4, partial=True)
    assert contents.data == bytes(4)
    assert [(hole.start, hole.end) for hole in contents.holes] == [(0, 4)]


def test_memory_goes_to_a_descriptor_of_any_size_which_is_then_closed(read):
    file = os.memfd_create("test")
    kept = os.dup(file)
    assert read(file, address=ADDRESS, size=4, fd=0).size == 4
    assert os.pread(kept, 100, 0) == b"what"
    big = read(os.dup(kept), address=0, size=MAX_READ * 2, fd=0, partial=True)
    assert (big.data, big.size) == (None, MAX_READ * 2)
    assert os.fstat(kept).st_size == MAX_READ * 2
    os.close(kept)


def test_more_than_a_reply_carries_is_refused(read):
    with pytest.raises(LimitExceeded) as caught:
        read(address=ADDRESS, size=MAX_READ + 1)
    assert caught.value.data["limit"] == "max_read"
    assert "fd" in caught.value.hint


def closed_soon(reading):
    """Wait until nobody has the other end of a pipe."""
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_descriptors_that_cannot_be_written(read):
    for fd in (sealed("test", [b"never"]), os.open("/dev/null", os.O_RDONLY), os.pipe()[1]):
        with pytest.raises(InvalidParams) as caught:
            read(fd, address=ADDRESS, size=4, fd=0)
        assert caught.value.data["member"] == "fd"


def test_a_descriptor_is_closed_where_the_request_is_refused(read):
    for params, error in (({"pid": ended()}, NoSuchProcess), ({"start_time": 1}, NoSuchProcess)):
        reading, writing = os.pipe()
        with pytest.raises(error):
            read(writing, address=ADDRESS, size=4, fd=0, **params)
        closed_soon(reading)


def test_a_descriptor_is_closed_where_the_request_is_cancelled():
    with child() as pid, by_hand() as hand:
        reading, writing = os.pipe()
        go = threading.Event()

        async def main():
            with anyio.CancelScope() as scope:
                scope.cancel()
                await hand.start(Read(pid=pid, address=ADDRESS, size=4, fd=0), writing)

        anyio.run(main)
        go.set()
        closed_soon(reading)
