import ctypes
import inspect
import mmap
import os
import threading

import anyio
import pytest

from tests.children import child, ended
from tests.kernel.by_hand import by_hand
from tests.kernel.targets import target, threads_then
from utraced.api import engine, thread
from utraced.api.memory import Read, Search, Write
from utraced.errors import BadAddress, Gone, InvalidParams, LimitExceeded, NoSuchObject, NoSuchProcess
from utraced.handlers import memory
from utraced.handlers.limits import MAX_READ
from utraced.linux.memfd import sealed

TEXT = ctypes.create_string_buffer(b"what a target has in its memory")
ADDRESS = ctypes.addressof(TEXT)
LIBC = ctypes.CDLL(None)
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


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


def carried_out(found):
    """Return what a handler returns, awaited where it has to be."""

    async def main():
        return await found

    return anyio.run(main) if inspect.isawaitable(found) else found


def newest():
    """Return the window of this test's session; those of others' may still be there."""
    return list(memory._windows.values())[-1]


def test_a_memory_file_stays_mapped_and_as_large_as_it_is(read):
    file = os.memfd_create("test")
    assert read(os.dup(file), address=ADDRESS, size=8, fd=0).size == 8
    window = newest()
    assert read(os.dup(file), address=ADDRESS, size=4, fd=0).size == 4
    assert os.pread(file, 100, 0) == b"what a t"
    assert read(os.dup(file), address=0, size=2, fd=0, partial=True).size == 2
    assert os.pread(file, 100, 0) == b"\0\0at a t"
    assert newest() is window
    other = os.memfd_create("other")
    assert read(other, address=ADDRESS, size=100, fd=0).size == 100
    assert newest() is not window
    os.close(file)


def test_one_too_large_to_be_kept(read, monkeypatch):
    monkeypatch.setattr(memory, "MAX_KEPT", 4)
    file = os.memfd_create("test")
    kept = os.dup(file)
    assert read(file, address=ADDRESS, size=8, fd=0).size == 8
    assert os.pread(kept, 100, 0) == b"what a t"
    assert not any(each.serves(kept, 8) for each in memory._windows.values())
    os.close(kept)


@pytest.fixture
def writing():
    """Give a target, and what carries out memory.write of an engine on it."""
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine

        def ask(*fds, **params):
            return carried_out(hand.start(Write(**{"engine": number, **params}), *fds))

        yield found, hand, ask


def test_what_is_written_is_read(writing):
    found, hand, ask = writing
    assert ask(address=ADDRESS, data=b"that").size == 4
    assert carried_out(hand.start(Read(pid=found.pid, address=ADDRESS, size=6))).data == b"that a"
    assert ask(address=ADDRESS, data=b"").size == 0
    assert TEXT.value.startswith(b"what")


def test_writing_from_a_descriptor(writing):
    found, hand, ask = writing
    file = os.memfd_create("test")
    os.write(file, b"than never")
    assert ask(os.dup(file), address=ADDRESS, fd=0, size=4).size == 4
    assert carried_out(hand.start(Read(pid=found.pid, address=ADDRESS, size=6))).data == b"than a"
    assert ask(file, address=ADDRESS, fd=0).size == 10
    assert carried_out(hand.start(Read(pid=found.pid, address=ADDRESS, size=10))).data == b"than never"


def test_what_cannot_be_written(writing):
    _, _, ask = writing
    with pytest.raises(BadAddress) as caught:
        ask(address=8, data=b"x")
    assert caught.value.data == {"address": "0x8", "done": 0}
    short = os.memfd_create("short")
    for fd, size in ((short, 1), (os.open("/dev/null", os.O_WRONLY), 1), (os.pipe()[0], 1)):
        with pytest.raises(InvalidParams) as caught:
            ask(fd, address=ADDRESS, fd=0, size=size)
        assert caught.value.data["member"] == "fd"
    for params, member in (({}, "data"), ({"data": b"x", "size": 1}, "size")):
        with pytest.raises(InvalidParams) as caught:
            ask(address=ADDRESS, **params)
        assert caught.value.data["member"] == member


def test_a_descriptor_is_closed_where_writing_is_refused_or_cancelled(writing):
    _, hand, ask = writing
    for params, error in (({"data": b"x"}, InvalidParams), ({"engine": 99}, NoSuchObject)):
        reading, end = os.pipe()
        with pytest.raises(error):
            ask(end, address=ADDRESS, fd=0, **params)
        closed_soon(reading)
    reading, end = os.pipe()

    async def main():
        with anyio.CancelScope() as scope:
            scope.cancel()
            await hand.start(Write(engine=1, address=ADDRESS, fd=0), end)

    anyio.run(main)
    closed_soon(reading)


def test_only_an_engine_s_process_is_written(writing):
    _, hand, ask = writing
    hand.call(engine.Detach(engine=1))
    with pytest.raises(Gone):
        ask(address=ADDRESS, data=b"x")


def test_what_all_threads_are_held_for_is_done_at_once():
    with target(threads_then(2)) as found, by_hand() as hand:
        found.go()
        found.hear(b"started")
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        hand.start(Write(engine=number, address=ADDRESS, data=b"that"))
        assert hand.start(Read(pid=found.pid, address=ADDRESS, size=4)).data == b"that"
        # One that runs could change its mappings, and have us wait.
        hand.call(thread.Resume(engine=number, tid=found.pid))
        assert inspect.isawaitable(waits := hand.start(Read(pid=found.pid, address=ADDRESS, size=4)))
        assert carried_out(waits).data == b"that"


def test_what_is_not_in_memory_is_waited_for(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as area:
        address = LIBC.mmap(0, 4096, 1, 2, file.fileno(), 0)
        with target() as found, by_hand() as hand:
            number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
            assert inspect.isawaitable(waits := hand.start(Read(pid=found.pid, address=address, size=4)))
            assert carried_out(waits).data == area[:4]
            assert inspect.isawaitable(waits := hand.start(Write(engine=number, address=address, data=b"y")))
            assert carried_out(waits).size == 1
            # Now the page is the process's own.
            hand.start(Write(engine=number, address=address, data=b"yz"))
            assert hand.start(Read(pid=found.pid, address=address, size=4)).data == b"yzxx"
        LIBC.munmap(address, 4096)


def test_bytes_are_found(writing):
    found, hand, _ = writing
    # What stands before it may be anything, also what is looked for.
    near = {"start": ADDRESS, "end": ADDRESS + 100}
    looked = carried_out(hand.start(Search(pid=found.pid, pattern=b"target has", **near)))
    assert (looked.addresses, looked.next) == ((ADDRESS + 7,), None)
    first = carried_out(hand.start(Search(pid=found.pid, pattern=b"a", limit=1, **near)))
    assert (first.addresses, first.next) == ((ADDRESS + 2,), ADDRESS + 5)
    with pytest.raises(NoSuchProcess):
        hand.start(Search(pid=ended(), pattern=b"a"))


def test_a_search_that_is_cancelled_is_told_so(writing, monkeypatch):
    found, hand, _ = writing
    made = []

    class Noted(memory.Search):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(memory, "Search", Noted)

    async def main():
        with anyio.CancelScope() as scope:
            scope.cancel()
            await hand.start(Search(pid=found.pid, pattern=b"never there"))

    anyio.run(main)
    assert made[0].abandoned
