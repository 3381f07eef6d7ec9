"""What a worker can do to the broker that its user has taken over: the test is template and workers itself."""

from __future__ import annotations

import array
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.broker.system import connected, folder
from tests.children import become, fork, needs_root
from tests.live.machine import PATIENCE, until
from utraced.broker.admission import Admission
from utraced.broker.broker import AT_ONCE, Broker
from utraced.configuration import Configuration
from utraced.linux import handing
from utraced.linux.handing import (
    Connection,
    End,
    Handed,
    Idle,
    NeedsAttacher,
    Order,
    Receiver,
    Refusal,
    Serve,
    StartAttacher,
)
from utraced.linux.listening import FOR_ALL, Listener
from utraced.linux.systemd import Notifier

pytestmark = needs_root

ADA, BOB = 3131, 3132


class Played:
    """A broker, of which we are the template and all workers."""

    def __init__(self, address: str, pid: int, template: socket.socket) -> None:
        self.address = address
        self.pid = pid
        self.template = template
        self._orders = Receiver(Order, StartAttacher)
        self.attachers = 0
        self.attacher = template
        self._messages = Receiver(Connection, Refusal, End)

    def order(self) -> tuple[Order, socket.socket]:
        """Return the next order, and the channel of the worker that it orders."""
        while True:
            handed = self._orders.wait(self.template)
            assert handed is not None
            channel = socket.socket(fileno=handed.fds[0])
            channel.settimeout(PATIENCE)
            if isinstance(handed.message, Order):
                return handed.message, channel
            self.attachers += 1
            self.attacher = channel

    def message(self, channel: socket.socket) -> Handed | None:
        """Return what the broker tells a worker next; its descriptors are closed."""
        handed = self._messages.wait(channel)
        for fd in handed.fds if handed else ():
            os.close(fd)
        return handed

    def connect(self, uid: int, times: int = 1) -> int:
        """Have a user connect and stay; return the pid."""
        reading, writing = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                become(uid)
                kept = [connected(self.address) for _ in range(times)]
                os.write(writing, b"!" * len(kept[:1]))
                signal.pause()
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb", buffering=0) as file:
            assert file.read(1)
        return pid

    def works(self) -> None:
        """Check that the broker serves a user who was never there: it orders a worker, and hands it the connection."""
        pid = self.connect(BOB)
        try:
            while True:
                order, channel = self.order()
                if order.identity.uid == BOB:
                    break
                channel.close()
            handed = self.message(channel)
            channel.close()
            assert handed is not None
            assert isinstance(handed.message, Connection)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def descriptors_left(self) -> int:
        """Be the workers that are ordered for what others have not taken, end, and return how many are left."""
        while select.select([self.template], [], [], 0)[0]:
            self.order()[1].close()
        return self.descriptors()


@pytest.fixture
def played() -> Iterator[Played]:
    with folder() as made, ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(ours)
        listener = Listener(str(made / "utraced.sock"), FOR_ALL)
        pid = fork()
        if pid == 0:
            try:
                ours.close()
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                Broker(
                    [listener],
                    None,
                    admission=Admission(),
                    start_template=theirs.dup,
                    configuration=Configuration(),
                ).run(Notifier({}))
            finally:
                os._exit(0)
        theirs.close()
        listener.socket.close()
        ours.settimeout(PATIENCE)
        found = Played(listener.name, pid, ours)
        try:
            yield found
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def worker(played: Played) -> Iterator[socket.socket]:
    """A worker of ADA's with one connection."""
    pid = played.connect(ADA)
    order, channel = played.order()
    assert order.identity.uid == ADA
    assert played.message(channel) is not None
    with channel:
        yield channel
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"?",
        b"\xc1",
        b"\x81",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 150_000,
        b"\x82\xa4type\xa4idle\xa5taken\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x82\xa4type\xa4idle\xa5taken\xff",
        b"\x81\xa4type\xa5order",
        b"\x82\xa4type\xa4idle\xa5taken\xc0",
        os.urandom(100_000),
    ],
)
def test_rubbish(data: bytes, played: Played, worker: socket.socket) -> None:
    worker.send(data)
    played.works()


def test_a_flood(played: Played, worker: socket.socket) -> None:
    worker.setblocking(False)
    for round_ in range(5):
        with suppress(BlockingIOError, BrokenPipeError):
            for _ in range(1000):
                handing.send(worker, Idle(12345 + round_))
        played.works()


def test_it_asks_for_the_attacher_all_the_time(played: Played, worker: socket.socket) -> None:
    """It is connected once a second; one attacher is started, for whom the broker knows it."""
    before = played.descriptors()
    worker.setblocking(False)
    for _ in range(5):
        with suppress(BlockingIOError, BrokenPipeError):
            for _ in range(1000):
                handing.send(worker, NeedsAttacher())
        # Meanwhile another user is served: the order for the attacher comes before his.
        played.works()
    assert played.attachers == 1
    with played.attacher:
        served = Receiver(Serve).take(played.attacher)
    assert served is not None
    assert isinstance(served.message, Serve)
    assert served.message.identity.uid == ADA
    os.close(served.fds[0])
    assert played.descriptors() <= before + 8


def test_it_says_that_it_is_idle_though_more_comes(played: Played, worker: socket.socket) -> None:
    handing.send(worker, Idle(0))
    played.works()
    worker.setblocking(False)
    # It would be told to end.
    with pytest.raises(BlockingIOError):
        worker.recv(100)


@pytest.mark.parametrize("data", [b"", b"?", b"\x82\xa4type\xa4idle\xa5taken\x01"])
def test_descriptors(data: bytes, played: Played, worker: socket.socket) -> None:
    """It fills the broker's table, as far as it is listened to: one packet."""
    before = played.descriptors()
    with ExitStack() as stack:
        files = [os.memfd_create("full") for _ in range(16)]
        for fd in files:
            stack.callback(os.close, fd)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        worker.setblocking(False)
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            for _ in range(200):
                worker.sendmsg([data], rights)
        played.works()
        assert played.descriptors() <= before + 16
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            worker.send(b"?")


def test_it_takes_nothing(played: Played, worker: socket.socket) -> None:
    """Its user's connections are refused then, nobody else's."""
    pid = played.connect(ADA, 600)
    try:
        # The next order is of who says why.
        order, refuser = played.order()
        with refuser:
            assert order.refuses
            handed = played.message(refuser)
            assert handed is not None
            assert isinstance(handed.message, Refusal)
            assert handed.message.data["limit"] == "connections"
            played.works()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_workers_that_end_at_once(played: Played) -> None:
    played.works()
    before = played.descriptors()
    for _ in range(3 * AT_ONCE):
        pid = played.connect(ADA)
        _, channel = played.order()
        channel.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    played.works()
    until(lambda: played.descriptors_left() <= before, "as many descriptors as before")
