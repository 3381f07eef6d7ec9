from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from tests.children import fork
from tests.live.machine import PATIENCE, wait_end
from utraced.configuration import Limits
from utraced.errors import LimitExceeded
from utraced.linux import handing
from utraced.linux.handing import Connection, End, Idle, Order, Receiver, Refusal, Taken
from utraced.linux.identity import Identity
from utraced.worker import handed
from utraced.worker.serve import serve_handed

HELLO = b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}'


class Worker:
    """A worker of ours: this test is its broker."""

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self.channel = channel
        self.pid = pid

    def hand(self, message: msgspec.Struct | None = None) -> socket.socket:
        """Return the client's end of a connection that is handed to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE)
        with theirs:
            handing.send(self.channel, message or Connection("/run/socket", "full"), [theirs.fileno()])
        return ours

    def says(self) -> object:
        """Return the next that it says beside that it has taken something, None at its end."""
        while (message := self.hears()) is not None:
            if not isinstance(message, Taken):
                return message
        return None

    def hears(self) -> object:
        """Return the next that it says, None at its end."""
        found = Receiver(Idle, Taken).wait(self.channel)
        return None if found is None else found.message


@contextmanager
def worker(idle: float = 60, prepare: Callable[[], object] = lambda: None) -> Iterator[Worker]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = fork()
    if pid == 0:
        try:
            ours.close()
            prepare()
            serve_handed(theirs.detach(), Order(Identity(0, 0), Limits(), idle), frozenset(), user="somebody")
        finally:
            os._exit(0)
    theirs.close()
    try:
        with ours:
            yield Worker(ours, pid)
        wait_end(pid)
    finally:
        os.waitpid(pid, 0)


def ask(sock: socket.socket, data: bytes = HELLO) -> Any:
    sock.send(data)
    return msgspec.json.decode(sock.recv(1 << 17))


def test_it_serves_what_it_is_handed() -> None:
    with worker() as found, found.hand() as one, found.hand(Connection("x", "observe")) as other:
        assert ask(one)["result"]["access"] == "full"
        assert ask(other)["result"]["access"] == "observe"
        assert ask(one)["result"]["tracer_pid"] == found.pid


def test_it_says_what_it_has_taken_before_it_reads_anything() -> None:
    with worker() as found:
        with found.hand() as one, found.hand(Refusal("x", -32009, "too many", {})) as other:
            assert [found.hears(), found.hears()] == [Taken(1), Taken(2)]
            assert ask(one)["result"]
            assert ask(other)["error"]
        # Its broker may have no time for that: with the next it says all.
        for _ in range(400):
            with found.hand() as sock:
                ask(sock)
        heard = 0
        while heard < 200:
            message = found.hears()
            assert isinstance(message, Taken)
            heard += 1


def test_it_says_why_who_is_refused() -> None:
    error = LimitExceeded("too many", limit="workers", hint="Wait.")
    with worker() as found, found.hand(Refusal("x", error.code, error.message, error.wire_data())) as sock:
        answer = ask(sock)["error"]
        assert (answer["code"], answer["message"]) == (-32009, "too many")
        assert answer["data"] == {"kind": "limit_exceeded", "limit": "workers", "hint": "Wait."}
        assert sock.recv(1) == b""


def test_it_offers_to_end_when_nobody_is_there() -> None:
    with worker(idle=0.01) as found:
        assert found.says() == Idle(0)
        with found.hand() as sock:
            ask(sock)
        assert found.says() == Idle(1)
        handing.send(found.channel, End())
        assert found.says() is None


def test_an_offer_that_nobody_takes_is_made_again_after_the_next() -> None:
    with worker(idle=0.01) as found:
        for taken in range(3):
            assert found.says() == Idle(taken)
            with found.hand() as sock:
                ask(sock)


def test_it_stays_for_whom_it_has_when_the_broker_is_gone() -> None:
    with worker() as found, found.hand() as sock:
        ask(sock)
        found.channel.shutdown(socket.SHUT_RDWR)
        assert ask(sock)["result"]["tracer_pid"] == found.pid
        sock.close()
        wait_end(found.pid)


def test_it_lets_go_of_everything_when_told_to() -> None:
    with worker() as found, found.hand() as sock:
        ask(sock)
        handing.send(found.channel, End(now=True))
        assert sock.recv(1 << 17) == b""
        assert found.says() is None


def test_who_refuses_ends_when_too_much_waits_to_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed, "MOST_CLOSING", -1)
    with worker() as found:
        found.hand(Refusal("x", -32009, "too many", {})).close()
        assert found.says() is None
