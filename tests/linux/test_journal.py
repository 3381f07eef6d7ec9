from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.linux.journal import Journal, encoded, leads_to_journal


def parsed(data: bytes) -> dict[str, bytes]:
    """Read a datagram as systemd's journal does (journald-native.c)."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + size], rest[8 + size :]
            assert data[:1] == b"\n"
            data = data[1:]
        found[name.decode()] = value
    return found


def test_fields() -> None:
    assert encoded({"MESSAGE": "a = b", "PRIORITY": "6"}) == b"MESSAGE=a = b\nPRIORITY=6\n"
    assert encoded({"A": "x\ny"}) == b"A\n\x03\0\0\0\0\0\0\0x\ny\n"


@given(st.dictionaries(st.from_regex("[A-Z][A-Z_]{0,9}", fullmatch=True), st.text()))
def test_whatever_a_value_says_is_that_field_s_value(fields: dict[str, str]) -> None:
    assert parsed(encoded(fields)) == {name: value.encode() for name, value in fields.items()}


@pytest.mark.parametrize("stream", ["", ":", "1", "1:2", "x:y"])
def test_stderr_is_not_the_journal(stream: str) -> None:
    assert not leads_to_journal({"JOURNAL_STREAM": stream})
    assert not leads_to_journal({})


def test_stderr_is_the_journal() -> None:
    reading, writing = os.pipe()
    status = os.fstat(writing)
    environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert leads_to_journal(environment, writing)
    os.close(reading)
    os.close(writing)
    assert not leads_to_journal(environment, writing)


def test_a_message(tmp_path: Path) -> None:
    place = str(tmp_path / "socket")
    journal = Journal(place)
    assert not journal.send({"MESSAGE": "nobody is there"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(place)
        assert journal.send({"MESSAGE": "one"})
        assert parsed(listening.recv(1000)) == {"MESSAGE": b"one"}
    os.unlink(place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(place)
        assert journal.send({"MESSAGE": "two"})
        assert parsed(again.recv(1000)) == {"MESSAGE": b"two"}
    journal.close()


def test_a_journal_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    place = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(place)
        journal = Journal(place)
        sent = 0
        while journal.send({"MESSAGE": "x" * 1000}):
            sent += 1
            assert sent < 100_000
        assert sent > 0
        assert not journal.send({"MESSAGE": "x" * 10_000_000})
        journal.close()
