import ctypes
import mmap
import os
import shutil
import subprocess

import pytest

from tests.children import ended
from tests.kernel.targets import target
from utraced.errors import BadAddress, NoSuchProcess, TimedOut
from utraced.kernel import memory_writer
from utraced.kernel.memory import CHUNK, PAGE, Reader, TargetMemory
from utraced.kernel.memory_writer import Writer

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
READ, PRIVATE, SHARED, ANONYMOUS = 1, 2, 1, 0x20
TEXT = ctypes.create_string_buffer(b"what a target has in its memory")
ADDRESS = ctypes.addressof(TEXT)


@pytest.fixture
def area():
    """Give the address of 40 pages that can only be read, of which the last is missing."""
    address = LIBC.mmap(0, 40 * PAGE, READ, PRIVATE | ANONYMOUS, -1, 0)
    assert LIBC.munmap(address + 39 * PAGE, PAGE) == 0
    yield address
    LIBC.munmap(address, 39 * PAGE)


def memory_of(found, address, size):
    with Reader(found.pid) as reader:
        return reader.read(address, size, partial=False)[0]


def test_what_is_written_is_the_target_s_alone():
    with target(lambda side: side.say(TEXT.value) or side.wait()) as found, Writer(found.pid) as writer:
        writer.write(ADDRESS + 5, b"X")
        found.go()
        found.hear(b"what X target")
    assert TEXT.value == b"what a target has in its memory"


def test_memory_that_is_read_only_for_itself(area):
    with target() as found, Writer(found.pid) as writer:
        writer.write(area + PAGE - 2, b"text")
        assert memory_of(found, area + PAGE - 3, 6) == b"\0text\0"
        writer.write(area, b"")
    assert ctypes.string_at(area + PAGE - 2, 4) == bytes(4)


def test_as_far_as_it_can_be_written(area):
    with target() as found, Writer(found.pid) as writer:
        with pytest.raises(BadAddress) as caught:
            writer.write(area + 38 * PAGE, b"x" * 2 * PAGE, done=7)
        assert caught.value.data == {"address": hex(area + 39 * PAGE), "done": PAGE + 7}
        assert memory_of(found, area + 38 * PAGE, PAGE) == b"x" * PAGE
        for address in (0, 0xFFFF_FFFF_8000_0000, (1 << 64) - 1, 1 << 63):
            with pytest.raises(BadAddress) as caught:
                writer.write(address, b"x")
            assert caught.value.data == {"address": hex(address), "done": 0}


def test_what_others_share_read_only_stays_as_it_is(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * PAGE)
    with path.open("rb") as file:
        address = LIBC.mmap(0, PAGE, READ, SHARED, file.fileno(), 0)
        with target() as found, Writer(found.pid) as writer:
            with pytest.raises(BadAddress) as caught:
                writer.write(address, b"y")
            assert "shared" in caught.value.hint
        LIBC.munmap(address, PAGE)
    assert path.read_bytes() == b"x" * PAGE


def test_a_file_of_any_size_is_copied(area, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2 * CHUNK + 100))
    with target() as found, Writer(found.pid) as writer, path.open("rb") as file:
        writer.copy(area, 2 * CHUNK + 50, file.fileno(), abandoned=lambda: False)
        assert memory_of(found, area, 2 * CHUNK + 50) == path.read_bytes()[:-50]
        with pytest.raises(OSError, match="ends after"):
            writer.copy(area, 2 * CHUNK + 101, file.fileno(), abandoned=lambda: False)
        with pytest.raises(BadAddress) as caught:
            writer.copy(area + 39 * PAGE - CHUNK, CHUNK + 1, file.fileno(), abandoned=lambda: False)
        assert caught.value.data["done"] == CHUNK


def test_who_wants_it_no_more_has_it_end(area, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"y" * 3 * CHUNK)
    with target() as found, Writer(found.pid) as writer, path.open("rb") as file:
        answers = iter([False, True])
        writer.copy(area, 2 * CHUNK, file.fileno(), abandoned=lambda: next(answers))
        assert memory_of(found, area + CHUNK - 1, 2) == b"y\0"
        monkeypatch.setattr(memory_writer, "PATIENCE", -1.0)
        with pytest.raises(TimedOut):
            writer.copy(area, CHUNK, file.fileno(), abandoned=lambda: False)


def test_who_is_gone_or_another_has_nothing_to_be_written():
    with pytest.raises(NoSuchProcess), Writer(ended()):
        pass
    with target() as found:
        start = TargetMemory(found.pid).start_time()
        with pytest.raises(NoSuchProcess), Writer(found.pid, start + 1):
            pass
        writer = Writer(found.pid, start).__enter__()
    with pytest.raises((BadAddress, NoSuchProcess)):
        writer.write(ADDRESS, b"x")
    writer.__exit__()


def test_text_of_a_running_program(tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing: install it to run the tests with compiled programs")
    (tmp_path / "program.c").write_text(
        '#include <stdio.h>\n__attribute__((noinline, aligned(16))) int value(void) { return 1; }\n'
        'int main(void) { printf("%p\\n", value); fflush(stdout); getchar(); return value(); }\n'
    )  # fmt: skip
    program = tmp_path / "program"
    subprocess.run([compiler, "-O1", "-fno-inline", "-fno-ipa-cp", "-o", program, tmp_path / "program.c"], check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            address = int(process.stdout.readline(), 16)
            with Writer(process.pid) as writer:
                writer.write(address, bytes([0xB8, 42, 0, 0, 0, 0xC3]))  # mov $42, %eax; ret
            process.communicate(b"\n", timeout=30)
        finally:
            process.kill()
    assert process.returncode == 42


def test_the_mapping_is_kept_apart():
    with mmap.mmap(-1, PAGE) as shared:
        address = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        with target() as found, Writer(found.pid) as writer:
            writer.write(address, b"seen by all")
        assert ctypes.string_at(address, 11) == b"seen by all"
