"""Clients of one loop: in which order their requests are carried out."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from tests.worker.embedded import notification, request
from utraced.api.methods import registry
from utraced.handlers.context import HANDLERS, Context
from utraced.handlers.session import Session
from utraced.kernel.tracer import Tracer
from utraced.linux.credentials import peer
from utraced.model import Empty
from utraced.worker.loop import Loop
from utraced.worker.transport import Transport
from utraced.worker.turns import LONG_NS, Turns
from utraced.worker.waits import EventWaits

COSTS = {"engine.list": LONG_NS // 2, "session.list": LONG_NS // 20}


class Served:
    """Sessions in one loop, whose clock goes on by what their requests cost; ``order`` tells whose were carried out."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.order: list[int] = []
        self.now = 10**12
        self.turns = Turns(self.loop.waiting, clock=lambda: self.now, cpu=lambda: self.now)
        self.clients: list[socket.socket] = []
        self.sessions: list[tuple[socket.socket, Session]] = []

    def client(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = len(self.clients) + 1
        who = msgspec.structs.replace(peer(ours), pid=number)
        session = Session(number, who, Tracer(lambda _: None))
        self.clients.append(theirs)
        self.sessions.append((ours, session))
        return theirs

    def carry_out(self, method: str) -> Callable[[Any, Context], Empty]:
        def handler(_params: Any, context: Context) -> Empty:
            self.order.append(context.session.session)
            self.now += COSTS[method]
            return Empty()

        return handler

    def run(self, requests: int | None) -> None:
        """Serve until so many requests are carried out; None: until the first client's session has ended."""
        self.loop.run(partial(self._main, requests))

    async def _main(self, requests: int | None) -> None:
        over: list[Session] = []
        transports: list[Transport] = []
        async with anyio.create_task_group() as tasks:
            for sock, session in self.sessions:
                transport = Transport(
                    sock,
                    session,
                    registry(),
                    EventWaits(),
                    self.turns,
                    pidfd=os.pidfd_open(os.getpid()),
                    tasks=tasks,
                    over=lambda ended: over.append(ended.session),
                )
                transports.append(transport)
                transport.start()
            while len(self.order) < (requests or 0) or (requests is None and self.sessions[0][1] not in over):
                await anyio.lowlevel.checkpoint()
            for transport in transports:
                transport.end()


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    scene = Served()
    for method in COSTS:
        monkeypatch.setitem(HANDLERS, method, scene.carry_out(method))
    try:
        yield scene
    finally:
        for client in scene.clients:
            client.close()


def test_a_batch_is_carried_out_request_by_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as scene:
        batch, single = scene.client(), scene.client()
        batch.send(msgspec.json.encode([request(number, "engine.list") for number in range(100)]))
        for number in range(50):
            single.send(msgspec.json.encode(request(number, "session.list")))
        scene.run(150)
        # All of them cost as much as five of the batch.
        assert scene.order.index(2) < 10
        assert len(scene.order) - 1 - scene.order[::-1].index(2) < 50 + 15
        assert [msgspec.json.decode(single.recv(1 << 16))["id"] for _ in range(50)] == list(range(50))
        assert [answer["id"] for answer in msgspec.json.decode(batch.recv(1 << 18))] == list(range(100))


def test_dear_requests_do_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as scene:
        dear, cheap = scene.client(), scene.client()
        for number in range(100):
            dear.send(msgspec.json.encode(request(number, "engine.list")))
            cheap.send(msgspec.json.encode(request(number, "session.list")))
        scene.run(200)
        last = len(scene.order) - 1 - scene.order[::-1].index(2)
        assert scene.order[:last].count(1) <= 20


def test_what_one_leaves_behind_that_has_gone_while_it_rests_is_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(COSTS, "engine.list", 2 * LONG_NS)
    with served(monkeypatch) as scene:
        dear, other = scene.client(), scene.client()
        for number in range(30):
            dear.send(msgspec.json.encode(notification("engine.list")))
            other.send(msgspec.json.encode(request(number, "session.list")))
        dear.close()
        scene.run(None)
        # It rests when there is enough to rest for.
        assert 1 < scene.order.count(1) < 10


def test_a_session_that_ends_in_the_middle_of_its_batch_closes_its_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as scene:
        client = scene.client()
        reading, writing = socket.socketpair()
        packet = msgspec.json.encode([request(number, "engine.list") for number in range(100)])
        socket.send_fds(client, [packet], [writing.fileno()])
        writing.close()
        scene.run(10)
        assert len(scene.order) < 100
        reading.settimeout(20)
        with reading:
            assert reading.recv(1) == b""
