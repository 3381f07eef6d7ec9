"""Connections and their workers, of which each is a channel here: this test is the template and all workers."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.live.machine import PATIENCE, until
from utraced.broker import workers as module
from utraced.broker.workers import MOST_GIVEN, Workers
from utraced.configuration import Configuration
from utraced.errors import LimitExceeded, PermissionDenied
from utraced.linux import handing
from utraced.linux.attaching import Lacking
from utraced.linux.handing import Connection, End, Idle, Order, Receiver, Refusal, StartAttacher, Taken
from utraced.linux.identity import Identity

ADA, BOB = Identity(3001, 3001), Identity(3002, 3002)
MESSAGE = Connection("/run/socket", "full")


class Worker:
    """The worker's end of a channel."""

    def __init__(self, order: Order, channel: socket.socket) -> None:
        self.order = order
        self.channel = channel
        self._receiver = Receiver(Connection, Refusal, End)

    def take(self) -> tuple[object, int | None]:
        """Return the next message, and the descriptor with it."""
        handed = self._receiver.wait(self.channel)
        assert handed is not None
        return handed.message, handed.fds[0] if handed.fds else None

    def say(self, message: Any) -> None:
        handing.send(self.channel, message)

    def end(self) -> None:
        self.channel.close()


class Scene:
    """Workers in a loop that turns when it is told to; ``dropped`` are the connections nobody takes."""

    def __init__(self) -> None:
        self.reactions: dict[socket.socket, Callable[[], None]] = {}
        self.dropped: list[socket.socket] = []
        self.templates: list[socket.socket] = []
        self.started: list[Worker] = []
        self._orders = Receiver(Order, StartAttacher)
        self.workers = Workers(
            start_template=self._start_template,
            configuration=Configuration(),
            lacking=Lacking("none here"),
            drop=self.dropped.append,
            watch=self.reactions.__setitem__,
            unwatch=lambda sock: self.reactions.pop(sock, None) and None,
        )
        self.workers.start()
        self._clients: list[socket.socket] = []

    def _start_template(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.templates.append(theirs)
        return ours

    def worker(self) -> Worker:
        """Return the worker that was ordered last."""
        handed = self._orders.take(self.templates[-1])
        assert handed is not None
        assert isinstance(handed.message, Order)
        self.started.append(Worker(handed.message, socket.socket(fileno=handed.fds[0])))
        return self.started[-1]

    def serve(self, identity: Identity = ADA, message: Connection = MESSAGE) -> socket.socket:
        """Have a connection served; return the client's end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE)
        self._clients.append(ours)
        try:
            self.workers.serve(theirs, message, identity)
        except LimitExceeded:
            theirs.close()
            raise
        return ours

    def turn(self) -> None:
        """React to all that has come."""
        while readable := select.select(list(self.reactions), [], [], 0)[0]:
            self.reactions[readable[0]]()

    def close(self) -> None:
        self.workers.end()
        for worker in self.started:
            worker.end()
        self.turn()
        for sock in (*self.reactions, *self.templates, *self._clients, *self.dropped):
            sock.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    found = Scene()
    try:
        yield found
    finally:
        found.close()


@contextmanager
def kept_open() -> Iterator[Callable[[], int]]:
    """Tell how many descriptors more are open than at the beginning."""
    before = len(os.listdir("/proc/self/fd"))
    yield lambda: len(os.listdir("/proc/self/fd")) - before


def hung_up(client: socket.socket) -> bool:
    """Tell whether the other end of a connection is closed everywhere."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_one_user_s_connections_go_to_one_worker(scene: Scene) -> None:
    for identity in (ADA, BOB, ADA):
        scene.serve(identity)
    ada, bob = scene.worker(), scene.worker()
    assert (ada.order.identity, bob.order.identity) == (ADA, BOB)
    assert [ada.take()[0], ada.take()[0], bob.take()[0]] == [MESSAGE] * 3
    assert len(scene.workers) == 2


def test_what_a_worker_has_not_taken_when_it_ends_is_the_next_one_s(scene: Scene) -> None:
    clients = [scene.serve(message=Connection(name, "full")) for name in ("first", "second", "third")]
    one = scene.worker()
    _, first = one.take()
    assert first is not None
    one.say(Taken(1))
    os.close(first)
    one.end()
    scene.turn()
    other = scene.worker()
    assert other.order == one.order
    for client, name in zip(clients[1:], ("second", "third"), strict=True):
        message, fd = other.take()
        assert message == Connection(name, "full")
        assert fd is not None
        with socket.socket(fileno=fd) as sock:
            sock.send(name.encode())
        assert client.recv(100).decode() == name
    until(lambda: hung_up(clients[0]), "the connection that was served is closed")


@pytest.mark.parametrize("told", [True, False])
def test_it_is_so_where_the_end_is_found_by_handing_on(scene: Scene, told: bool) -> None:
    """The worker has said that it took one, and its end is told before that, as messages of ours lie unread there."""
    first, _second = scene.serve(), scene.serve()
    one = scene.worker()
    if told:
        _, fd = one.take()
        assert fd is not None
        os.close(fd)
        one.say(Taken(1))
    one.end()
    scene.serve(message=Connection("third", "full"))
    other = scene.worker()
    names = ["/run/socket"] * (1 if told else 2) + ["third"]
    taken = [other.take()[0] for _ in names]
    assert sorted(message.name for message in taken if isinstance(message, Connection)) == sorted(names)
    if told:
        until(lambda: hung_up(first), "the connection that was served is closed")


def test_what_ends_its_workers_is_given_up(scene: Scene) -> None:
    client = scene.serve()
    for _ in range(2):
        worker = scene.worker()
        worker.take()
        worker.end()
        scene.turn()
    with pytest.raises(BlockingIOError):
        scene.templates[-1].recv(1, socket.MSG_DONTWAIT)
    for worker in scene.started:
        worker.end()
    assert not scene.dropped
    assert client.fileno() >= 0


def test_a_worker_that_takes_nothing_does_not_fill_our_descriptors(scene: Scene) -> None:
    with kept_open() as more:
        count = MOST_GIVEN + 30
        for _ in range(count):
            scene.serve()
        # The clients' ends are open here too, and the channel.
        until(lambda: more() <= count + MOST_GIVEN + 2, "no more are kept")
        worker = scene.worker()
        for number in range(1, count + 1):
            _, fd = worker.take()
            assert fd is not None
            os.close(fd)
            worker.say(Taken(number))
            scene.turn()
        until(lambda: more() <= count + 2, "none is kept")


def test_a_worker_that_counts_wrongly_harms_nobody(scene: Scene) -> None:
    client = scene.serve()
    worker = scene.worker()
    for number in (0, -7, 10**9, 1):
        worker.say(Taken(number))
        scene.turn()
    _, fd = worker.take()
    assert fd is not None
    os.close(fd)
    until(lambda: hung_up(client), "the connection is closed")
    scene.serve(BOB)
    assert scene.worker().take()[0] == MESSAGE


def test_of_a_worker_that_is_given_up_nothing_goes_to_another(scene: Scene) -> None:
    scene.serve()
    worker = scene.worker()
    worker.channel.send(b"garbage")
    scene.turn()
    assert len(scene.workers) == 0
    with pytest.raises(BlockingIOError):
        scene.templates[-1].recv(1, socket.MSG_DONTWAIT)


def test_at_the_end_nothing_goes_to_another(scene: Scene) -> None:
    scene.serve()
    worker = scene.worker()
    scene.workers.end()
    worker.take()
    assert worker.take() == (End(now=True), None)
    assert scene.workers.ending
    worker.end()
    scene.turn()
    assert not scene.workers.ending
    assert len(scene.dropped) == 1
    with pytest.raises(BlockingIOError):
        scene.templates[-1].recv(1, socket.MSG_DONTWAIT)


def test_an_idle_worker_ends_unless_more_are_on_their_way(scene: Scene) -> None:
    scene.serve()
    worker = scene.worker()
    scene.serve()
    worker.take()
    worker.say(Idle(1))
    scene.turn()
    assert len(scene.workers) == 1
    worker.take()
    worker.say(Idle(2))
    scene.turn()
    assert worker.take() == (End(now=False), None)
    scene.serve()
    assert scene.worker().take()[0] == MESSAGE


def test_a_user_has_a_number_of_workers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    most = Configuration().limits.workers
    for group in range(most):
        scene.serve(Identity(3001, 3001, (group,)))
    with pytest.raises(LimitExceeded) as caught:
        scene.serve(Identity(3001, 3001, (most,)))
    assert caught.value.data["limit"] == "workers"
    scene.serve(BOB)
    # The refusing worker is nobody's.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        scene.workers.refuse(theirs, "/run/socket", PermissionDenied("no", reason="policy"))
        for _ in range(most + 1):
            scene.worker()
        refuser = scene.worker()
        assert refuser.order.refuses
        assert refuser.order.identity == module.REFUSING
        message, _ = refuser.take()
        assert isinstance(message, Refusal)
        assert message.message == "no"


def test_a_template_that_has_ended_is_started_anew(scene: Scene) -> None:
    scene.templates[0].close()
    scene.serve()
    assert len(scene.templates) == 2
    assert scene.worker().take()[0] == MESSAGE
