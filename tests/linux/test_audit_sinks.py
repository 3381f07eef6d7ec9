from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.linux.test_journal import parsed
from utraced.audit import Entry, Who
from utraced.linux.audit_sinks import sink_of

WHO = Who(pid=7, uid=1, gid=2, comm="gdb")
ENTRY = Entry(time="then", action="connect", peer=WHO, session=1)
REFUSAL = Entry(time="then", action="refusal", peer=WHO, method="connect", reason="policy")
LINE = {
    "time": "then",
    "action": "connect",
    "session": 1,
    "peer": {"pid": 7, "uid": 1, "gid": 2, "comm": "gdb"},
}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def lines(data: bytes) -> list[Any]:
    return [msgspec.json.decode(line) for line in data.splitlines()]


def test_a_pipe(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    sink = sink_of({}, writing)
    assert sink.write(ENTRY)
    assert sink.write(ENTRY)
    assert lines(os.read(reading, 1000)) == [LINE, LINE]


def test_a_pipe_that_nobody_reads_is_filled_to_its_half(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    sink = sink_of({}, writing)
    written = 0
    while sink.write(ENTRY):
        written += 1
    os.write(writing, b"x" * 4096)  # what else is to be said finds room
    data = b""
    while not data.endswith(b"x" * 4096):
        data += os.read(reading, 1 << 16)
    assert lines(data.rstrip(b"x")) == [LINE] * written
    assert sink.write(ENTRY)


def test_a_pipe_of_kernels_that_cannot_be_asked_not_to_wait(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "pwritev", refused)
    assert sink_of({}, pipe[1]).write(ENTRY)
    assert lines(os.read(pipe[0], 1000)) == [LINE]


def test_a_pipe_that_is_broken() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert not sink_of({}, writing).write(ENTRY)
    os.close(writing)
    assert not sink_of({}, writing).write(ENTRY)


def test_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file:
        sink = sink_of({}, file.fileno())
        assert sink.write(ENTRY)
        assert sink.write(ENTRY)
    assert lines((tmp_path / "log").read_bytes()) == [LINE, LINE]


def test_a_full_disk() -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        assert not sink_of({}, file.fileno()).write(ENTRY)


def test_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = sink_of({}, ours.fileno())
        assert sink.write(ENTRY)
        assert lines(theirs.recv(1000)) == [LINE]
        while sink.write(ENTRY):
            pass
        theirs.close()
        assert not sink.write(ENTRY)
        sink.close()


def test_a_terminal_hears_of_refusals_in_words() -> None:
    manager, terminal = os.openpty()
    sink = sink_of({}, terminal)
    assert sink.write(ENTRY)
    assert sink.write(REFUSAL)
    assert os.read(manager, 1000) == b"utraced: gdb[7] of uid 1, gid 2 is refused at connect: policy\r\n"
    tries = 0
    while sink.write(REFUSAL):
        tries += 1
        assert tries < 10_000
    os.close(manager)
    assert not sink.write(REFUSAL)
    sink.close()
    assert not sink.write(REFUSAL)
    os.close(terminal)


def test_the_journal(tmp_path: Path, pipe: tuple[int, int]) -> None:
    status = os.fstat(pipe[1])
    place = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(place)
        sink = sink_of({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, pipe[1], place=place)
        assert sink.write(ENTRY)
        found = parsed(listening.recv(4096))
    assert found["UTRACED_ACTION"] == b"connect"
    assert found["UTRACED_PEER_UID"] == b"1"
    assert not sink.write(ENTRY)
    sink.close()
    assert not sink.write(ENTRY)
