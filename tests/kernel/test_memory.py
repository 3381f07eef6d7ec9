import ctypes
import mmap
import os

import pytest

from tests.children import ended
from tests.kernel.targets import target
from utraced.errors import BadAddress, NoSuchProcess, TimedOut
from utraced.kernel import memory as module
from utraced.kernel.maps import read_maps
from utraced.kernel.memory import PAGE, Reader, TargetMemory
from utraced.kernel.proc import Process
from utraced.kernel.window import Window
from utraced.linux.memfd import sealed

KERNEL = 0xFFFF_FFFF_8000_0000
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


@pytest.fixture
def pages():
    """Four pages, "abcd" repeated, of which the third cannot be read; a child has them at the same address."""
    area = mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.write(b"abcd" * PAGE)
    hold = (ctypes.c_char * len(area)).from_buffer(area)
    address = ctypes.addressof(hold)
    # /proc/PID/mem passes over protections (FOLL_FORCE): only what is not mapped cannot be read.
    LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    assert LIBC.munmap(address + 2 * PAGE, PAGE) == 0
    yield address
    LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    LIBC.mmap.restype = ctypes.c_void_p
    LIBC.mmap(address + 2 * PAGE, PAGE, 3, 0x32, -1, 0)
    del hold
    area.close()


@pytest.fixture
def child():
    with target(lambda _: os.execv("/bin/cat", ["cat"])) as found:
        yield found


def test_a_target_reads_as_much_as_there_is(pages, child):
    memory = TargetMemory(child.pid)
    assert memory.read(pages, 8) == b"abcdabcd"
    assert memory.read(pages + 1, PAGE) == (b"abcd" * PAGE)[1 : PAGE + 1]
    assert memory.read(pages + 2 * PAGE - 4, 100) == b"abcd"
    assert memory.read(pages + 2 * PAGE, 1) == b""
    assert memory.read(KERNEL, 1) == b""
    assert memory.read(0, 8) == b""
    assert memory.read(pages, 0) == b""
    memory.close()
    assert memory.read(pages, 4) == b"abcd"  # it opens anew
    memory.close()
    memory.close()


def test_a_string_ends_at_its_nul_the_limit_or_the_end_of_memory():
    text = ctypes.create_string_buffer(b"hello\0world")
    memory = TargetMemory(os.getpid())
    at = ctypes.addressof(text)
    assert memory.string(at, 100) == (b"hello", True)
    assert memory.string(at, 5) == (b"hello", True)
    assert memory.string(at, 4) == (b"hell", False)
    assert memory.string(at, 0) == (b"", False)
    assert memory.string(at + 5, 0) == (b"", True)
    assert memory.string(0, 32) == (b"", False)
    memory.close()


def test_a_string_over_pages_and_up_to_a_hole(pages, child):
    memory = TargetMemory(child.pid)
    assert memory.string(pages + PAGE - 2, 6) == (b"cdabcd", False)
    assert memory.string(pages + 2 * PAGE - 4, 100) == (b"abcd", False)
    memory.close()


def test_an_exec_has_other_memory(pages, child):
    memory = TargetMemory(child.pid)
    assert memory.read(pages, 4) == b"abcd"
    start = memory.start_time()
    child.go()
    while os.readlink(f"/proc/{child.pid}/exe") == os.readlink("/proc/self/exe"):
        os.sched_yield()
    assert memory.read(pages, 4) == b""
    memory.renew()
    assert memory.read(pages, 4) == b""
    # It is the new program's memory: its stack can be read.
    with open(f"/proc/{child.pid}/maps") as maps:
        stack = next(line for line in maps if "[stack]" in line)
    assert len(memory.read(int(stack.partition("-")[0], 16), 16)) == 16
    assert memory.start_time() == start > 0
    memory.close()


def test_who_is_gone_has_no_memory_and_no_age():
    memory = TargetMemory(ended())
    assert memory.read(4096, 8) == b""
    assert memory.string(4096, 8) == (b"", False)
    assert memory.start_time() == 0


def test_a_name_with_parentheses_does_not_confuse_the_age():
    expected = TargetMemory(os.getpid()).start_time()
    with open("/proc/self/comm") as file:
        comm = file.read()
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(") R 1 (")
        assert TargetMemory(os.getpid()).start_time() == expected
    finally:
        with open("/proc/self/comm", "w") as file:
            file.write(comm.strip())


def test_a_reader_reads_exactly_or_says_where_not(pages, child):
    with Reader(child.pid) as reader:
        assert reader.read(pages + 2, 6, partial=False) == (b"cdabcd", [])
        with pytest.raises(BadAddress) as caught:
            reader.read(pages + 1, 3 * PAGE, partial=False)
        assert caught.value.data == {"address": hex(pages + 2 * PAGE), "done": 2 * PAGE - 1}
        with pytest.raises(BadAddress):
            reader.read(KERNEL, 8, partial=False)
        with pytest.raises(BadAddress):
            reader.read(2**64 - 8, 8, partial=False)


def test_a_reader_reads_around_holes(pages, child):
    with Reader(child.pid) as reader:
        data, holes = reader.read(pages + PAGE, 3 * PAGE, partial=True)
        assert holes == [(pages + 2 * PAGE, pages + 3 * PAGE)]
        assert data == b"abcd" * (PAGE // 4) + bytes(PAGE) + b"abcd" * (PAGE // 4)
        assert reader.read(pages + 2 * PAGE + 100, 10, partial=True) == (
            bytes(10),
            [(pages + 2 * PAGE + 100, pages + 2 * PAGE + 110)],
        )
        assert reader.read(0, 3 * PAGE, partial=True) == (bytes(3 * PAGE), [(0, 3 * PAGE)])


def test_a_reader_writes_to_a_descriptor_from_its_start(pages, child):
    fd = os.memfd_create("test")
    os.write(fd, b"x" * 5 * PAGE)
    with Reader(child.pid) as reader:
        assert reader.copy(pages, 4 * PAGE, fd, partial=True) == (4 * PAGE, [(pages + 2 * PAGE, pages + 3 * PAGE)])
        assert os.pread(fd, 5 * PAGE, 0) == b"abcd" * (PAGE // 2) + bytes(PAGE) + b"abcd" * (PAGE // 4)
        assert reader.copy(pages, 4, fd, partial=False) == (4, [])
        assert os.fstat(fd).st_size == 4
        with pytest.raises(BadAddress):
            reader.copy(0, 4, fd, partial=False)
    os.close(fd)


def test_a_descriptor_that_cannot_be_written(child):
    fd = sealed("test", [b"never"])
    with Reader(child.pid) as reader, pytest.raises(OSError, match="not permitted"):
        reader.copy(0, 4, fd, partial=True)
    os.close(fd)


@pytest.fixture
def memfd():
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


def test_a_reader_fills_a_window_and_leaves_what_is_behind(pages, child, memfd):
    os.write(memfd, b"x" * 5 * PAGE)
    window = Window(memfd, 5 * PAGE)
    with Reader(child.pid) as reader:
        filled = reader.fill(pages, 4 * PAGE, memfd, window, partial=True)
        assert filled == (4 * PAGE, [(pages + 2 * PAGE, pages + 3 * PAGE)])
        expected = b"abcd" * (PAGE // 2) + bytes(PAGE) + b"abcd" * (PAGE // 4) + b"x" * PAGE
        assert os.pread(memfd, 6 * PAGE, 0) == expected
        assert reader.fill(pages + 2, 2, memfd, window, partial=False) == (2, [])
        assert os.pread(memfd, 6 * PAGE, 0) == b"cd" + expected[2:]
        with pytest.raises(BadAddress) as caught:
            reader.fill(pages, 4 * PAGE, memfd, window, partial=False)
        assert caught.value.data == {"address": hex(pages + 2 * PAGE), "done": 2 * PAGE}


def test_what_a_process_may_not_read_itself_is_read_all_the_same(memfd):
    area = mmap.mmap(-1, 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.write(b"abcd" * (PAGE // 2))
    hold = (ctypes.c_char * len(area)).from_buffer(area)
    address = ctypes.addressof(hold)
    with target(lambda side: (LIBC.mprotect(address + PAGE, PAGE, 0), side.say(b"protected"), side.wait())) as found:
        found.go()
        found.hear(b"protected")
        with Reader(found.pid) as reader:
            assert reader.fill(address, 2 * PAGE, memfd, Window(memfd, 2 * PAGE), partial=False) == (2 * PAGE, [])
    assert os.pread(memfd, 2 * PAGE, 0) == b"abcd" * (PAGE // 2)
    del hold
    area.close()


def test_a_memory_file_that_shrinks_is_the_client_s_mistake(pages, child, memfd):
    window = Window(memfd, 2 * PAGE)
    os.ftruncate(memfd, 0)
    with Reader(child.pid) as reader, pytest.raises(OSError, match="smaller"):
        reader.fill(pages, 2 * PAGE, memfd, window, partial=True)


def test_another_process_of_the_same_pid_is_not_read(child):
    start = TargetMemory(child.pid).start_time()
    with Reader(child.pid, start):
        pass
    with pytest.raises(NoSuchProcess), Reader(child.pid, start - 1):
        pass


def test_who_ends_while_a_window_is_filled_may_have_been_another(memfd):
    with target() as found:
        reader = Reader(found.pid).__enter__()
        window = Window(memfd, PAGE)

        def end(*_):
            os.kill(found.pid, 9)
            os.waitid(os.P_PID, found.pid, os.WEXITED | os.WNOWAIT)
            return 4

        window.take = end
        with pytest.raises(NoSuchProcess):
            reader.fill(4096, 4, memfd, window, partial=True)
        reader.__exit__()


def test_who_is_gone_cannot_be_read_and_who_ends_meanwhile_neither():
    with pytest.raises(NoSuchProcess), Reader(ended()):
        pass
    with target() as found:
        reader = Reader(found.pid).__enter__()
    # Its memory is gone; the kernel tells that as nothing to read.
    with pytest.raises((BadAddress, NoSuchProcess)):
        reader.read(4096, 4, partial=False)
    reader.__exit__()


def test_a_hole_of_terabytes_is_not_looked_at_for_ever(monkeypatch, child):
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    with Reader(child.pid) as reader, pytest.raises(TimedOut):
        reader.read(0, 8, partial=True)


def test_a_target_tells_which_file_is_where():
    with target() as found:
        memory = TargetMemory(found.pid)
        libc = next(each for each in read_maps_of(found.pid) if each.path and b"libc" in each.path and not each.offset)
        assert memory.file_at(libc.start + 17) == (libc.path, libc.start)
        assert memory.file_at(16) is None
    assert TargetMemory(ended()).file_at(libc.start) is None


def read_maps_of(pid):
    with Process(pid) as process:
        return read_maps(process)


def test_a_target_is_written_or_it_is_told_that_not_all_was(pages, child):
    memory = TargetMemory(child.pid)
    assert memory.write(pages, b"new!")
    assert memory.read(pages, 8) == b"new!abcd"
    assert not memory.write(pages + 2 * PAGE - 2, b"over")
    assert not memory.write(KERNEL, b"?")
    assert not TargetMemory(ended()).write(pages, b"?")
    memory.close()
