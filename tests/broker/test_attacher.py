"""The attacher of all workers: who gets a connection, and what is left where one of the processes is killed."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.attacher.clients import needed
from tests.broker.system import System, system
from tests.children import as_user, child, libc, needs_root, own_program
from tests.kernel.recording import needs_bpf
from tests.kernel.test_bpf_recording import programs
from tests.live.machine import children, status, until, wait_end
from tests.worker.daemon import Peer
from utraced.attacher.starting import NAME
from utraced.broker.attacher import TOO_OFTEN, SharedAttacher
from utraced.linux.handing import Attacher, Receiver, Serve
from utraced.linux.identity import Identity

ADA, BOB = 3171, 3172


class Played:
    """A shared attacher; the test is the attacher, the worker and the loop."""

    def __init__(self, missing: str | None = None) -> None:
        self.started: list[socket.socket] = []
        self.watched: list[Any] = []
        self.now = 100.0
        self.shared = SharedAttacher(
            lambda sock: self.started.append(sock.dup()),
            missing,
            watch=lambda _, react: self.watched.append(react),
            unwatch=lambda _: None,
            clock=lambda: self.now,
        )

    def close(self) -> None:
        for worker in range(10):
            self.shared.forget(worker)
        for sock in self.started:
            sock.close()

    def ask(self, worker: int = 1) -> tuple[str, int]:
        """Return the reason that a worker is told, and the number of descriptors."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            self.shared.answer(theirs, worker, Identity(ADA, ADA))
            handed = Receiver(Attacher).take(ours)
        assert handed is not None
        assert isinstance(handed.message, Attacher)
        for fd in handed.fds:
            os.close(fd)
        return handed.message.reason, len(handed.fds)

    def served(self) -> Serve:
        """Return what the newest attacher is told."""
        handed = Receiver(Serve).take(self.started[-1])
        assert handed is not None
        assert isinstance(handed.message, Serve)
        os.close(handed.fds[0])
        return handed.message


@pytest.fixture
def played() -> Iterator[Played]:
    found = Played()
    yield found
    found.close()


def test_a_worker_gets_a_connection_as_whom_the_broker_knows(played: Played) -> None:
    assert played.ask(7) == ("", 1)
    assert played.served() == Serve(Identity(ADA, ADA), 7)


def test_one_answer_a_second(played: Played) -> None:
    assert played.ask() == ("", 1)
    assert played.ask() == (TOO_OFTEN, 0)
    assert played.ask(2) == ("", 1)
    played.now += 1
    assert played.ask() == ("", 1)
    assert len(played.started) == 1


def test_a_new_one_where_it_was_killed(played: Played) -> None:
    played.ask()
    played.started[0].close()
    assert played.ask(2) == ("", 1)
    assert len(played.started) == 2
    assert played.served().worker == 2
    played.watched[-1]()
    assert played.ask(3) == ("", 1)
    assert len(played.started) == 3


def test_it_is_let_go_with_the_last_worker_that_asked(played: Played) -> None:
    played.ask(1)
    played.ask(2)
    played.shared.forget(3)
    played.shared.forget(1)
    played.started[0].setblocking(False)
    played.served()
    played.served()
    with pytest.raises(BlockingIOError):
        played.started[0].recv(1)
    played.shared.forget(2)
    assert played.started[0].recv(1) == b""


def test_why_there_is_none() -> None:
    assert Played("there is none").ask() == ("there is none", 0)


@pytest.fixture
def daemon() -> Iterator[System]:
    needs_bpf()
    with system() as found:
        yield found


def attacher(daemon: System) -> int:
    found = [pid for pid in children(daemon.template()) if status(pid).get("Name") == NAME]
    return found[0] if found else 0


def start(peer: Peer, pid: int, **options: Any) -> int:
    options = {"backend": "kernel", **options}
    started = peer.call("trace.start", pid=pid, **options)
    assert started["backend"] == options["backend"]
    number: int = started["trace"]
    return number


class Calling:
    """A process of the caller's own user that calls getppid, and in a child, when it is told to."""

    def __init__(self) -> None:
        waits, self._go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._go)
                while os.read(waits, 1):
                    os.getppid()
                    inner = os.fork()
                    if inner == 0:
                        os.getppid()
                        os._exit(0)
                    os.waitpid(inner, 0)
            finally:
                os._exit(0)
        os.close(waits)

    def go(self) -> None:
        os.write(self._go, b"!")

    def end(self) -> None:
        """Have it end, if it has not been told to."""
        if self._go >= 0:
            os.close(self._go)
            self._go = -1
            os.waitpid(self.pid, 0)


def own_trace(address: str, started: Callable[[], object] = lambda: None) -> tuple[bool, int, int, int]:
    """As a user: tell whether it is available, and count own calls, those of children, and those of others.

    ``started`` is called when the trace is on.
    """
    calling = own()
    try:
        with Peer(address) as peer:
            available = peer.call("daemon.hello")["features"]["backend.kernel"]["available"]
            start(peer, calling.pid, syscalls=["getppid"], follow=True)
            started()
            calling.go()
            calling.end()
            calls = []
            for event in peer.events():
                if event["kind"] == "syscall":
                    calls.append(event)
                if event["kind"] == "detached" and event["pid"] == calling.pid:
                    break
            mine = sum(event["pid"] == calling.pid for event in calls)
            theirs = sum(event["return"] == calling.pid for event in calls)
            return available, mine, theirs, len(calls) - mine - theirs
    finally:
        calling.end()


def own() -> Calling:
    """Return a process that this user may trace."""
    libc().prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
    return Calling()


@needs_root
def test_users_trace_their_own(daemon: System) -> None:
    for user in (ADA, BOB, ADA):
        assert as_user(lambda: own_trace(daemon.address), user) == (True, 1, 1, 0)
    told = status(attacher(daemon))
    assert {told[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {f"{needed(attacher(daemon)):016x}"}
    assert told["NoNewPrivs"] == "1"


@needs_root
def test_two_users_at_once_see_their_own(daemon: System) -> None:
    arrived, arrive = os.pipe()
    wait, go = os.pipe()

    def both_are_on() -> None:
        os.write(arrive, b"!")
        os.read(wait, 1)

    with ThreadPoolExecutor(2) as pool:
        traces = [
            pool.submit(lambda user=user: as_user(lambda: own_trace(daemon.address, both_are_on), user))
            for user in (ADA, BOB)
        ]
        for _ in traces:
            # Who fails before is told of below.
            until(lambda: select.select([arrived], [], [], 0)[0] or any(trace.done() for trace in traces), "both on")
            if not any(trace.done() for trace in traces):
                os.read(arrived, 1)
        os.write(go, b"!!")
        assert [trace.result() for trace in traces] == [(True, 1, 1, 0)] * 2
    for fd in (arrived, arrive, wait, go):
        os.close(fd)


def kill(address: str, killed: str, template: int) -> None:
    """Have a trace of root's on, and kill a process: nothing is left of it, and the next trace works."""
    before = programs()
    with child(lambda: own_program(ADA)) as pid:
        with Peer(address) as peer:
            start(peer, pid)
            worker = peer.call("daemon.hello")["tracer_pid"]
            (found,) = [each for each in children(template) if status(each).get("Name") == NAME]
            os.kill({"worker": worker, "attacher": found, "template": template}[killed], signal.SIGKILL)
            if killed == "template":
                wait_end(template)
            else:
                until(lambda: not programs() - before, "nothing of ours in the kernel")
            if killed != "worker":
                start(peer, pid)
        assert status(pid)["State"][0] == "S"
        until(lambda: not programs() - before, "nothing of ours in the kernel")


@needs_root
@pytest.mark.parametrize("killed", ["worker", "attacher", "template"])
def test_nothing_is_left_where_one_is_killed(daemon: System, killed: str) -> None:
    kill(daemon.address, killed, daemon.template())
    assert as_user(lambda: own_trace(daemon.address), ADA) == (True, 1, 1, 0)


@needs_root
def test_it_ends_when_the_workers_have(daemon: System) -> None:
    assert as_user(lambda: own_trace(daemon.address), ADA)[0]
    found = attacher(daemon)
    for worker in daemon.workers():
        os.kill(worker, signal.SIGKILL)
    wait_end(found)


@needs_root
def test_a_trace_goes_on_without_the_broker(daemon: System) -> None:
    before = programs()
    with child(lambda: own_program(ADA)) as pid:
        with Peer(daemon.address) as peer:
            start(peer, pid)
            found = attacher(daemon)
            os.kill(daemon.pid, signal.SIGKILL)
            wait_end(daemon.pid)
            start(peer, pid)
        wait_end(found)
        # The kernel frees them a little later.
        until(lambda: not programs() - before, "nothing of ours in the kernel")
        assert status(pid)["State"][0] == "S"
