from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.configuration import Limits
from utraced.errors import PermissionDenied
from utraced.linux import handing
from utraced.linux.attaching import Lacking
from utraced.linux.handing import (
    Attacher,
    Connection,
    End,
    HandOn,
    Idle,
    NeedsAttacher,
    Order,
    Receiver,
    Refusal,
    Serve,
    StartAttacher,
)
from utraced.linux.identity import Identity

IDENTITY = Identity(1000, 1000, (4, 27), 0)
MESSAGES = [
    Order(IDENTITY, Limits(), 60.0),
    Order(
        Identity(0, 0, (), 1 << 40),
        Limits(sessions=3),
        0.5,
        refuses=True,
        lacking=Lacking("it is not to be", "nor that"),
    ),
    Connection("/run/socket", "observe"),
    Refusal("/run/socket", -32001, "no", PermissionDenied("no", reason="policy", confined=["x"]).wire_data()),
    End(),
    End(now=True),
    Idle(7),
    StartAttacher(),
    NeedsAttacher(),
    Attacher(),
    Attacher("there is none"),
    Serve(IDENTITY, 3),
    HandOn("/run/as/ada.sock", "full", IDENTITY),
]
ANY = Receiver(Order, StartAttacher, Connection, Refusal, End, Idle, NeedsAttacher, Attacher, Serve, HandOn)


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_as_it_went(message: msgspec.Struct, channel: tuple[socket.socket, socket.socket]) -> None:
    handing.send(channel[0], message)
    assert ANY.take(channel[1]) == (message, ())


def test_descriptors_come_along(channel: tuple[socket.socket, socket.socket]) -> None:
    reading, writing = os.pipe()
    handing.send(channel[0], Connection("x", "full"), [writing])
    os.close(writing)
    handed = ANY.wait(channel[1])
    assert handed is not None
    os.write(handed.fds[0], b"through")
    os.close(handed.fds[0])
    assert os.read(reading, 100) == b"through"
    os.close(reading)


def test_nothing_yet_and_the_end(channel: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        ANY.take(channel[1])
    channel[0].close()
    assert ANY.take(channel[1]) is None


def closed(reading: int) -> bool:
    """Wait until no descriptor of a pipe's other end is left."""
    found = os.read(reading, 1) == b""
    os.close(reading)
    return found


def test_one_of_another_kind_is_not_taken(channel: tuple[socket.socket, socket.socket]) -> None:
    reading, writing = os.pipe()
    handing.send(channel[0], Connection("x", "full"), [writing])
    os.close(writing)
    with pytest.raises(ValueError, match="not a message"):
        Receiver(Idle).take(channel[1])
    assert closed(reading)


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(data)
        try:
            handed = ANY.take(theirs)
        except ValueError:
            return
        assert handed is not None
