"""Clients that do not read, flood, or pass descriptors without end: others do not notice, and memory does not grow."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import msgspec
import pytest

from tests.kernel.targets import make_calls, target
from tests.worker.daemon import Daemon, Peer, listening
from tests.worker.embedded import request
from utraced.api import events
from utraced.api.methods import registry
from utraced.configuration import Limits
from utraced.handlers.limits import HELD_QUEUES, MAX_REPLIES
from utraced.handlers.session import Session
from utraced.kernel.tracer import Tracer
from utraced.linux.credentials import peer
from utraced.worker.transport import Transport
from utraced.worker.turns import Turns
from utraced.worker.waits import EventWaits

MAX_QUEUE = Limits().queue_bytes
MAX_HELD = HELD_QUEUES * MAX_QUEUE
HELLO = b'{"jsonrpc":"2.0","id":%d,"method":"daemon.hello"}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with listening(tmp_path_factory.mktemp("daemon") / "socket") as daemon:
        yield daemon


def memory(pid: int) -> int:
    """Return the bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def others_are_served(daemon: Daemon) -> None:
    with daemon.connect() as other:
        for _ in range(50):
            assert other.call("daemon.hello")


def test_ten_thousand_requests_of_one_that_does_not_read(daemon: Daemon) -> None:
    others_are_served(daemon)
    before = memory(daemon.pid)
    with daemon.connect() as peer:
        peer.socket.setblocking(False)
        sent = 0
        while sent < 10_000:
            try:
                peer.socket.send(HELLO % sent)
                sent += 1
            except BlockingIOError:
                break
        others_are_served(daemon)
        assert memory(daemon.pid) - before < 4 << 20
        # Once it reads, all is answered, in order, and what it sends then as well.
        peer.socket.setblocking(True)
        for number in range(10_000):
            if number + sent < 10_000:
                peer.socket.send(HELLO % (number + sent))
            assert peer.next()["id"] == number


def test_replies_of_one_that_does_not_read_are_bounded(daemon: Daemon) -> None:
    with daemon.connect() as peer, daemon.connect() as other:
        number = peer.call("daemon.hello")["session"]
        peer.socket.setblocking(False)
        filled = bytearray(131_072)
        address = (ctypes.c_char * len(filled)).from_buffer(filled)
        read = {"pid": os.getpid(), "address": hex(ctypes.addressof(address)), "size": len(filled)}
        sent = 0
        with suppress(BlockingIOError):
            while sent < 200:
                peer.socket.send(msgspec.json.encode(request(sent, "memory.read", **read)))
                sent += 1
        [entry] = [entry for entry in other.call("session.list")["sessions"] if entry["session"] == number]
        assert entry["queued"] <= MAX_REPLIES + 400_000
        peer.socket.setblocking(True)
        assert {peer.next()["id"] for _ in range(sent)} == set(range(sent))


def test_descriptors_without_end(daemon: Daemon) -> None:
    def opened() -> int:
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    before = opened()
    reading, writing = os.pipe()
    with daemon.connect() as peer:
        for _ in range(500):
            peer.send("daemon.hello", fds=[writing] * 16)
            assert opened() < before + 200
            peer.next()
        others_are_served(daemon)
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000_000)


class Scene:
    """A session over a socketpair, with a clock that stands."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.clock = Clock()
        self.session = Session(1, peer(self.ours), Tracer(lambda _: None))
        self.transport: Transport

    def serve(self, tasks: anyio.abc.TaskGroup) -> None:
        """Serve the session in this loop."""
        self.transport = Transport(
            self.ours,
            self.session,
            registry(),
            EventWaits(),
            Turns(list, clock=self.clock),
            pidfd=os.pidfd_open(os.getpid()),
            tasks=tasks,
            over=lambda _: None,
        )
        self.transport.start()

    def tell(self, size: int) -> None:
        """Tell events of about so many bytes."""
        for _ in range(size // 280):
            self.session.tell(events.Sync(token="x" * 200))
        self.transport.flush()

    def read(self) -> None:
        """Read one packet."""
        assert self.theirs.recv(1 << 20)


def play(act: Any) -> Scene:
    """Have ``act`` happen while the session is served."""
    scene = Scene()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            scene.serve(tasks)
            await act(scene)
            scene.transport.end()

    anyio.run(main)
    scene.theirs.close()
    return scene


def test_a_client_that_reads_nothing_is_disconnected_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def act(scene: Scene) -> None:
        scene.tell(500_000)
        assert not scene.transport.stalled(30)
        scene.clock.pass_by(29.9)
        assert not scene.transport.stalled(30)
        scene.clock.pass_by(0.1)
        assert scene.transport.stalled(30)
        assert not scene.transport.stalled(30)
        while scene.theirs.recv(1 << 20):
            pass

    with caplog.at_level(logging.WARNING):
        play(act)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"session 1 (pid {os.getpid()}, uid {os.getuid()}) is closed: ")
    assert line.endswith(" bytes stay unread for 30 s")


def test_a_client_that_reads_a_little_stays() -> None:
    async def act(scene: Scene) -> None:
        scene.tell(MAX_HELD // 2)
        for _ in range(10):
            scene.clock.pass_by(20)
            before = scene.session.queued
            while scene.session.queued == before:
                scene.read()
                await anyio.lowlevel.checkpoint()
            assert not scene.transport.stalled(30)

    play(act)


def test_a_client_with_nothing_to_read_stays() -> None:
    async def act(scene: Scene) -> None:
        scene.clock.pass_by(10_000)
        assert not scene.transport.stalled(30)
        scene.tell(10_000)
        scene.clock.pass_by(10_000)
        assert not scene.transport.stalled(30)

    play(act)


def test_where_nothing_can_be_held_back_the_session_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def act(scene: Scene) -> None:
        scene.tell(MAX_HELD // 2)
        assert not scene.session.excessive
        scene.tell(MAX_HELD)
        while scene.theirs.recv(1 << 20):
            pass

    with caplog.at_level(logging.WARNING):
        play(act)
    assert caplog.records[0].getMessage().endswith("and nothing could be held back")


def test_a_session_is_behind_until_half_is_read() -> None:
    async def act(scene: Scene) -> None:
        session = scene.session
        relieved: list[int] = []
        session.tracer.relieve = lambda _: relieved.append(session.queued)  # type: ignore[method-assign]
        scene.tell(MAX_QUEUE * 2)
        assert session.congested()
        while not relieved:
            scene.read()
            await anyio.lowlevel.checkpoint()
        assert MAX_QUEUE // 4 < relieved[0] < MAX_QUEUE // 2
        assert not session.congested()

    play(act)


def test_a_client_cannot_be_told_of_one_thing_twice(daemon: Daemon) -> None:
    with daemon.connect() as peer:
        for number in range(100):
            peer.send("session.sync", token=number)
        seen: list[Any] = []
        while len(seen) < 200:
            packet = peer.next()
            for message in packet if isinstance(packet, list) else [packet]:
                seen.append(message["params"]["token"] if "params" in message else ("reply", message["id"] - 1))
        for number in range(100):
            assert seen.index(number) < seen.index(("reply", number))


def test_many_connections(daemon: Daemon) -> None:
    peers: list[Peer] = []
    try:
        while len(peers) < 200:
            peers.append(daemon.connect())
        for peer_ in peers:
            peer_.send("daemon.hello")
        assert len({peer_.next()["result"]["session"] for peer_ in peers}) == 200
    finally:
        for peer_ in peers:
            peer_.socket.close()


def test_events_of_engines_are_never_lost_and_their_threads_wait(daemon: Daemon) -> None:
    count = 6_000
    with target(make_calls(count)) as found, daemon.connect() as peer_, daemon.connect() as other:
        engine = peer_.call("engine.attach", pid=found.pid, events=["syscall_entry", "syscall_exit", "death"])["engine"]
        peer_.call("engine.set_syscalls", engine=engine, entry={"set": ["getppid"]}, exit={"set": ["getppid"]})
        number = peer_.call("daemon.hello")["session"]
        found.go()

        def queued() -> int:
            return next(
                int(entry["queued"]) for entry in other.call("session.list")["sessions"] if entry["session"] == number
            )

        while queued() < MAX_QUEUE:
            pass
        at_most = queued()
        for _ in range(200):
            assert queued() <= at_most + 10_000
        assert not found.said(b"done")
        told = [event["kind"] for event in takewhile(lambda event: event["kind"] != "detached", endless(peer_, found))]
    assert told.count("syscall_entry") == told.count("syscall_exit") == count
    assert told[-1] == "death"


def endless(peer_: Peer, found: Any) -> Iterator[dict[str, Any]]:
    """Yield events; the target ends when it has said that it is done, which may be after the last of its calls."""
    left = 6_000
    for event in peer_.events():
        yield event
        left -= event["kind"] == "syscall_exit"
        if not left:
            left = -1
            found.hear(b"done")
            found.go()
