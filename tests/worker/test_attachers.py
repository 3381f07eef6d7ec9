"""A worker and its attacher: the broker is the test."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import anyio
import pytest

from utraced.errors import Unsupported
from utraced.linux import handing
from utraced.linux.attaching import CAPABILITIES, Lacking
from utraced.linux.handing import ATTACHER_SECONDS, Attacher, NeedsAttacher, Receiver
from utraced.linux.identity import Identity
from utraced.worker.attachers import GONE, BrokersAttacher, OwnAttacher


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def asked(ours: socket.socket) -> int:
    """Return how often a worker has asked."""
    ours.setblocking(False)
    count = 0
    while True:
        try:
            handed = Receiver(NeedsAttacher).take(ours)
        except BlockingIOError:
            return count
        assert handed is not None
        count += 1


def connection() -> tuple[socket.socket, tuple[int, ...]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ours, (theirs.detach(),)


@pytest.mark.anyio
async def test_the_broker_s_answer_is_the_connection(channel: tuple[socket.socket, socket.socket]) -> None:
    found = BrokersAttacher(channel[1], Lacking(), clock=lambda: 1.0)
    found._last = 0.0  # it has never asked
    ours, fds = connection()
    async with anyio.create_task_group() as tasks:

        async def answer() -> None:
            await anyio.wait_readable(channel[0])
            assert asked(channel[0]) == 1
            found.take(Attacher(), fds)

        tasks.start_soon(answer)
        sock = await found.connect()
    with ours, sock:
        ours.send(b"x")
        assert sock.recv(1) == b"x"


@pytest.mark.anyio
async def test_what_nobody_waits_for_any_more_is_for_the_next(channel: tuple[socket.socket, socket.socket]) -> None:
    found = BrokersAttacher(channel[1], Lacking())
    with anyio.move_on_after(0.01):
        await found.connect()
    assert asked(channel[0]) == 1
    ours, fds = connection()
    found.take(Attacher(), fds)
    with ours, await found.connect():
        assert asked(channel[0]) == 0


@pytest.mark.anyio
async def test_why_there_is_none(channel: tuple[socket.socket, socket.socket]) -> None:
    found = BrokersAttacher(channel[1], Lacking("there is none"))
    assert found.lacking().attacher == "there is none"
    with pytest.raises(Unsupported, match="there is none"):
        await found.connect()
    assert asked(channel[0]) == 0
    gone = BrokersAttacher(channel[1], Lacking())
    gone.ended()
    assert gone.lacking() == Lacking(GONE)
    with pytest.raises(Unsupported, match="has ended"):
        await gone.connect()


@pytest.mark.anyio
async def test_an_answer_that_nobody_asked_for_is_closed(channel: tuple[socket.socket, socket.socket]) -> None:
    found = BrokersAttacher(channel[1], Lacking())
    ours, fds = connection()
    with ours:
        found.take(Attacher(), fds)
        await anyio.wait_readable(ours)
        assert ours.recv(1) == b""


@pytest.mark.anyio
async def test_it_does_not_ask_more_often_than_the_broker_answers(
    channel: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    now = 100.0

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    found = BrokersAttacher(channel[1], Lacking(), clock=lambda: now)
    for _ in range(2):
        async with anyio.create_task_group() as tasks:

            async def answer() -> None:
                await anyio.wait_readable(channel[0])
                asked(channel[0])
                found.take(Attacher("not now"), ())

            tasks.start_soon(answer)
            with pytest.raises(Unsupported, match="not now"):
                await found.connect()
    assert slept == [0.0, ATTACHER_SECONDS]


@pytest.mark.anyio
async def test_one_s_own_attacher_is_told_for_whom_it_serves() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found = OwnAttacher(lambda: theirs, Identity(7, 8))
    with ours:
        with await found.connect() as sock:
            handed = Receiver(handing.Serve).take(ours)
            assert handed is not None
            assert handed.message == handing.Serve(Identity(7, 8))
            with socket.socket(fileno=handed.fds[0]) as end:
                sock.send(b"x")
                assert end.recv(1) == b"x"
        found.close()
        assert ours.recv(1) == b""


@pytest.mark.anyio
async def test_who_lacks_capabilities_has_none_of_his_own() -> None:
    found = OwnAttacher(lambda: None, Identity(os.getpid(), 1))
    assert found.lacking().attacher == CAPABILITIES
    with pytest.raises(Unsupported, match="capabilities"):
        await found.connect()
