"""Connections become sessions, or wait, or are held back: the acceptor in a loop of ours."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.abc
import pytest

from tests.worker.daemon import Peer, address_of, listener
from tests.worker.test_listen import HELLO
from utraced.api.methods import registry
from utraced.audit import Audit
from utraced.configuration import Limits
from utraced.handlers.session import Session
from utraced.handlers.sessions import Sessions
from utraced.kernel.tracer import Tracer
from utraced.linux.credentials import peer_pidfd
from utraced.worker import listen
from utraced.worker.listen import Acceptor
from utraced.worker.turns import Turns


class Lacking:
    """A listening socket at which accept fails a number of times; then it is ``over``."""

    def __init__(self, sock: socket.socket, failures: int) -> None:
        self.name = "lacking"
        self.socket: Any = self
        self.calls = 0
        self.over = anyio.Event()
        self._sock = sock
        self._failures = failures

    def setblocking(self, _: bool) -> None: ...

    def fileno(self) -> int:
        return self._sock.fileno()

    def accept(self) -> Any:
        self.calls += 1
        if self.calls <= self._failures:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self.over.set()
        raise BlockingIOError

    def close(self) -> None: ...


def accepting(act: Callable[[anyio.abc.TaskGroup], Awaitable[None]]) -> None:
    """Have ``act`` happen in a loop, with tasks that end with it."""

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await act(tasks)
            tasks.cancel_scope.cancel()

    anyio.run(main)


def test_a_lack_is_logged_once_and_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listen, "RETRY", 0.001)
    reading, writing = socket.socketpair()
    writing.send(b"!")
    lacking = Lacking(reading, 5)

    async def act(tasks: anyio.abc.TaskGroup) -> None:
        sessions = Sessions(Tracer(lambda _: None), Limits(), Audit())
        acceptor = Acceptor(sessions, registry(), cast(Any, None), Turns(list), tasks)
        acceptor.listen(lacking)
        await lacking.over.wait()
        acceptor.close()

    with caplog.at_level(logging.ERROR):
        accepting(act)
    reading.close()
    writing.close()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot take more connections for now: Too many open files"
    ]


def test_a_connection_for_which_something_lacks_is_served_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "RETRY", 0.001)
    lacks = [errno.EMFILE, errno.ENOMEM]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    served: list[int] = []

    def lacking(sock: socket.socket) -> int:
        if lacks:
            raise OSError(lacks.pop(), "lacks")
        return peer_pidfd(sock)

    monkeypatch.setattr(listen, "peer_pidfd", lacking)

    async def act(tasks: anyio.abc.TaskGroup) -> None:
        over = anyio.Event()

        def serve(sock: socket.socket, session: Session, pidfd: int) -> None:
            served.append(session.session)
            os.close(pidfd)
            sock.close()
            over.set()

        sessions = Sessions(Tracer(lambda _: None), Limits(), Audit())
        Acceptor(sessions, registry(), serve, Turns(list), tasks).take(ours, "lacking")
        assert not served
        await over.wait()

    accepting(act)
    theirs.close()
    assert served == [1]
    assert not lacks


def test_what_waits_for_descriptors_is_closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def lacking(_: socket.socket) -> int:
        raise OSError(errno.EMFILE, "lacks")

    monkeypatch.setattr(listen, "peer_pidfd", lacking)

    async def act(tasks: anyio.abc.TaskGroup) -> None:
        acceptor = Acceptor(
            Sessions(Tracer(lambda _: None), Limits(), Audit()), registry(), cast(Any, None), Turns(list), tasks
        )
        acceptor.take(ours, "lacking")
        acceptor.close()

    accepting(act)
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_bug_of_ours_ends_one_connection_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    served: list[int] = []

    def serve(sock: socket.socket, session: Session, pidfd: int) -> None:
        os.close(pidfd)
        if session.session == 1:
            raise RuntimeError("a bug")
        served.append(session.session)
        sock.close()

    async def act(tasks: anyio.abc.TaskGroup) -> None:
        acceptor = Acceptor(Sessions(Tracer(lambda _: None), Limits(), Audit()), registry(), serve, Turns(list), tasks)
        for _ in range(2):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            acceptor.take(ours, "buggy")
            assert theirs.recv(1) == b""
            theirs.close()
        acceptor.close()

    accepting(act)
    assert served == [2]
    assert "a bug" in caplog.text


def test_who_connects_without_end_is_held_back_while_others_are_there() -> None:
    """The clock stands, so that who has to rest would rest for ever."""
    now = 10**12
    turns = Turns(list, clock=lambda: now)
    other = turns.open(1000, 7)
    served: list[int] = []

    def serve(sock: socket.socket, session: Session, pidfd: int) -> None:
        served.append(session.session)
        os.close(pidfd)
        sock.close()

    def connect(acceptor: Acceptor) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        acceptor.take(ours, "many")
        theirs.close()

    async def act(tasks: anyio.abc.TaskGroup) -> None:
        acceptor = Acceptor(Sessions(Tracer(lambda _: None), Limits(), Audit()), registry(), serve, turns, tasks)
        for _ in range(100):
            connect(acceptor)
        assert len(served) == 100  # nobody else has asked for anything
        turns.start(other)
        turns.finish(other)
        for _ in range(100):
            connect(acceptor)
        assert len(served) == 101
        acceptor.close()

    accepting(act)


def test_a_user_has_a_number_of_sessions() -> None:
    served: list[int] = []
    answers: list[Any] = []
    keep: list[socket.socket] = []

    def serve(sock: socket.socket, session: Session, pidfd: int) -> None:
        served.append(session.session)
        os.close(pidfd)
        keep.append(sock)

    async def act(tasks: anyio.abc.TaskGroup) -> None:
        sessions = Sessions(Tracer(lambda _: None), Limits(sessions=2), Audit())
        with listener("most") as sock:
            acceptor = Acceptor(sessions, registry(), serve, Turns(list), tasks)
            acceptor.listen(SimpleNamespace(name="most", socket=sock, close=sock.close))
            address = address_of(sock)
            peers = [Peer(address) for _ in range(3)]
            peers[2].socket.send(HELLO)
            await anyio.wait_readable(peers[2].socket)
            answers.append(peers[2].next())
            acceptor.close()
            keep.extend(peer.socket for peer in peers)

    accepting(act)
    for sock in keep:
        sock.close()
    [answer] = answers
    assert served == [1, 2]
    assert answer["error"]["data"]["kind"] == "limit_exceeded"
    assert answer["error"]["data"]["limit"] == "sessions"
    assert answer["error"]["data"]["value"] == 2
