"""Registers and memory of real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.children import ended
from tests.live.conftest import Programs
from tests.live.listening import told
from tests.live.machine import running, tracer
from utracectl.client import Client
from utraced.api import engine, memory, registers, thread
from utraced.errors import BadAddress, Gone, InvalidParams, LimitExceeded, NoSuchProcess, NotHeld
from utraced.model import Hex

PAGE = 4096


@contextmanager
def mapped(program: Path) -> Iterator[tuple[Popen[bytes], int]]:
    """Give a running memory.c, and where its three pages are."""
    with running([program], ready=False, stdin=PIPE) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline(), 16)


def test_registers_of_a_held_thread_are_those_of_the_kernel(programs: Programs, client: Client) -> None:
    with told(programs("told"), "call") as target:
        number = client.call(engine.Attach(pid=target.pid, hold=True)).engine
        read = client.call(registers.Read(engine=number, tid=target.pid, set=("general", "fp", "xstate", "debug")))
        assert read.general is not None
        fields = Path(f"/proc/{target.pid}/syscall").read_text().split()
        assert (read.general["rsp"], read.general["rip"]) == (int(fields[-2], 16), int(fields[-1], 16))
        assert len(read.general) == 27
        assert read.fp is not None
        assert read.fp["mxcsr"] == 0x1F80
        assert read.xstate is not None
        assert len(read.xstate) >= 576
        assert read.debug is not None
        read.debug["dr6"] = Hex(read.debug["dr6"] & 0xF)  # its other bits are set at rest
        assert read.debug == {f"dr{index}": Hex(0) for index in (0, 1, 2, 3, 6, 7)}
        assert client.call(registers.Read(engine=number, tid=target.pid)).fp is None
        client.call(thread.Resume(engine=number))
        with pytest.raises(NotHeld):
            client.call(registers.Read(engine=number, tid=target.pid))
        with pytest.raises(NoSuchProcess):
            client.call(registers.Read(engine=number, tid=os.getpid()))
        client.call(engine.Detach(engine=number))
        with pytest.raises(Gone):
            client.call(registers.Read(engine=number, tid=target.pid))


def test_memory_is_read_without_stopping_anything(programs: Programs, client: Client) -> None:
    with mapped(programs("memory")) as (process, start):
        contents = client.call(memory.Read(pid=process.pid, address=Hex(start + 10), size=PAGE - 10))
        assert contents.data == b"a" * (PAGE - 10)
        assert contents.holes is None
        assert tracer(process.pid) == 0


def test_what_is_not_mapped_is_an_error_or_a_hole(programs: Programs, client: Client) -> None:
    with mapped(programs("memory")) as (process, start):
        with pytest.raises(BadAddress) as caught:
            client.call(memory.Read(pid=process.pid, address=Hex(start), size=3 * PAGE))
        assert caught.value.data["done"] == PAGE
        assert caught.value.data["address"] == f"{start + PAGE:#x}"
        contents = client.call(memory.Read(pid=process.pid, address=Hex(start), size=3 * PAGE, partial=True))
        assert contents.data == b"a" * PAGE + bytes(PAGE) + b"c" * PAGE
        assert contents.holes == (memory.Hole(start=Hex(start + PAGE), end=Hex(start + 2 * PAGE)),)
        with pytest.raises(BadAddress):
            client.call(memory.Read(pid=process.pid, address=Hex((1 << 64) - 8), size=8))


def test_memory_is_written_to_a_descriptor_again_and_again(programs: Programs, client: Client) -> None:
    fd = os.memfd_create("contents")
    try:
        with mapped(programs("memory")) as (process, start):
            for _ in range(2):
                contents = client.call(
                    memory.Read(pid=process.pid, address=Hex(start), size=3 * PAGE, partial=True, fd=0), [fd]
                )
                assert contents.size == 3 * PAGE
                assert contents.data is None
                assert contents.holes == (memory.Hole(start=Hex(start + PAGE), end=Hex(start + 2 * PAGE)),)
                assert os.pread(fd, 4 * PAGE, 0) == b"a" * PAGE + bytes(PAGE) + b"c" * PAGE
            assert os.pread(fd, 6, PAGE - 1) == b"a" + bytes(5)
            client.call(memory.Read(pid=process.pid, address=Hex(start + 2 * PAGE), size=5, fd=0), [fd])
            assert os.pread(fd, 8, 0) == b"cccccaaa"
            # It stays as large as it is: both ends may keep it mapped.
            assert os.fstat(fd).st_size == 3 * PAGE
    finally:
        os.close(fd)


def test_a_descriptor_that_cannot_be_written_is_refused(programs: Programs, client: Client) -> None:
    with mapped(programs("memory")) as (process, start), open(os.devnull, "rb") as file:
        with pytest.raises(InvalidParams):
            client.call(memory.Read(pid=process.pid, address=Hex(start), size=5, fd=0), [file.fileno()])
        with pytest.raises(InvalidParams):
            client.call(memory.Read(pid=process.pid, address=Hex(start), size=5, fd=3), [file.fileno()])


def test_limits_of_reading(programs: Programs, client: Client) -> None:
    with mapped(programs("memory")) as (process, start):
        with pytest.raises(LimitExceeded) as caught:
            client.call(memory.Read(pid=process.pid, address=Hex(start), size=1 << 30))
        assert "fd" in caught.value.hint
    with pytest.raises(NoSuchProcess):
        client.call(memory.Read(pid=ended(), address=Hex(start), size=1))
