"""A program that gains privileges when it is started, while sessions of the user trace, and race to."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.broker.system import System
from tests.children import as_user, libc, needs_root
from tests.live.machine import PATIENCE, status
from tests.security.asking import calls, targeting
from tests.security.others import MARK
from tests.worker.daemon import Peer
from utraced.api.methods import registry
from utraced.handlers.backends import RECORDING

pytestmark = needs_root

ADA = 3111
EXECS = int(os.environ.get("UTRACED_TEST_EXECS", "24"))
"""Of each kind of program; on an idle machine, 200 take ten seconds."""
POLLS = 50
"""Around each, by two sessions."""


def as_ada(function: Callable[[], Any]) -> Any:
    """Return what a program of ADA's returns, whose children may be traced before they execute another."""

    def call() -> Any:
        libc().prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return function()

    return as_user(call, ADA)


class Started(NamedTuple):
    """A child that starts a program when it is told to."""

    pid: int
    go: int
    says: int
    input: int

    def start(self) -> None:
        os.write(self.go, b"!")
        os.close(self.go)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.input)
        os.close(self.says)


def starting(program: Path) -> Started:
    """Fork a child that waits, and then executes the program."""
    waits, go = os.pipe()
    says, output = os.pipe()
    reads, feed = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(reads, 0)
            os.dup2(output, 1)
            os.close(go)
            os.close(feed)
            if os.read(waits, 1):
                os.execv(program, ["a-program"])
        finally:
            os._exit(125)
    for fd in (waits, output, reads):
        os.close(fd)
    return Started(pid, go, says, feed)


class Polls:
    """Every method that only wants a process, asked about one again and again: many requests in a packet."""

    def __init__(self, address: str, mark: int) -> None:
        self._peer = Peer(address)
        # Nothing is held: the program has to start.
        changed = {"address": hex(mark), "size": len(MARK), "hold": False, "events": ["exec"]}
        once = [
            (kind.method, members)
            for kind in targeting()
            for members in calls(kind, **changed)
            if "form" not in members and "fd" not in members
        ]
        self._requests = once * (POLLS // 2 // len(once) + 1)
        self.asked = 0
        self.given: list[tuple[str, dict[str, Any]]] = []

    def send(self, pid: int) -> None:
        """Ask everything, many times."""
        self.asked += len(self._requests)
        packet = [
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": method,
                "params": {**members, "pid": pid, **({"tid": pid} if "tid" in members else {})},
            }
            for number, (method, members) in enumerate(self._requests)
        ]
        self._peer.socket.send(msgspec.json.encode(packet))

    def take(self) -> None:
        """Take the answers to what was asked."""
        while True:
            packet = self._peer.next()
            answers = [message for message in packet if "id" in message] if isinstance(packet, list) else []
            self.given += [(self._requests[each["id"]][0], each["result"]) for each in answers if "result" in each]
            if answers:
                return

    def poll(self, pid: int) -> None:
        self.send(pid)
        self.take()

    def forbidden(self, program: Path) -> list[tuple[str, dict[str, Any]]]:
        """Return what only may be told of a process without privileges, and begin anew.

        That is: what stands in the program's memory and which program it is; and what attaches to it, as it lasts.
        What records a process falls silent as it gains privileges (``test_recorded``).
        """
        methods = registry().methods
        given, self.given = self.given, []
        encoded = [(name, result, msgspec.json.encode(result)) for name, result in given]
        secrets = (msgspec.json.encode(MARK).strip(b'"'), str(program).encode())
        return [
            (name, result)
            for name, result, data in encoded
            if (methods[name].creates and result.get("backend") not in RECORDING)
            or any(secret in data for secret in secrets)
        ]


def privileged(pid: int) -> bool:
    """Tell whether a process has more rights than its user."""
    found = status(pid)
    return "0" in found["Uid"].split() or int(found["CapPrm"], 16) != 0


def mark_of(program: Path) -> int:
    """Return where in the program's memory its mark stands."""
    started = starting(program)
    started.start()
    _, mark = os.read(started.says, 100).split()
    started.end()
    return int(mark)


@pytest.fixture(params=["set_uid", "with_capability"])
def program(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def test_a_traced_one_gains_nothing(program: Path, daemon: System) -> None:
    mark = mark_of(program)

    def trace() -> list[tuple[bool, int]]:
        found = []
        polls = Polls(daemon.address, mark)
        with Peer(daemon.address) as tracing:
            for _ in range(EXECS // 4):
                started = starting(program)
                engine = tracing.call("engine.attach", pid=started.pid)["engine"]
                started.start()
                polls.poll(started.pid)
                euid, _ = os.read(started.says, 100).split()
                polls.poll(started.pid)
                tracing.call("engine.detach", engine=engine)
                found.append((privileged(started.pid), int(euid)))
                # What is not privileged may be told.
                assert polls.forbidden(program)
                started.end()
        return found

    assert set(as_ada(trace)) == {(False, ADA)}


def test_of_one_that_gains_privileges_no_session_gets_hold(program: Path, daemon: System) -> None:
    """Two sessions race with the start: one asks all the time, one attaches when it is about to begin, or not."""
    mark = mark_of(program)

    def race() -> tuple[int, int, list[object]]:
        wrong: list[object] = []
        gained = asked = 0
        with ExitStack() as stack:
            first, second = Polls(daemon.address, mark), Polls(daemon.address, mark)
            tracing = stack.enter_context(Peer(daemon.address))
            for number in range(EXECS):
                started = starting(program)
                waiting = 0
                if number % 3 == 1:
                    # It was traced until just now.
                    engine = tracing.call("engine.attach", pid=started.pid)["engine"]
                    tracing.send("engine.detach", engine=engine)
                    waiting = 1
                started.start()
                if number % 3 == 2:
                    waiting = 1
                    tracing.send("memory.read", pid=started.pid, address=hex(mark), size=len(MARK))
                first.send(started.pid)
                second.send(started.pid)
                first.take()
                second.take()
                os.read(started.says, 100)
                for _ in range(waiting):
                    answer = tracing.next()
                    if number % 3 == 2 and "result" in answer:
                        first.given.append(("memory.read", answer["result"]))
                # And when it has begun for certain.
                first.poll(started.pid)
                has = privileged(started.pid)
                gained += has
                told = first.forbidden(program) + second.forbidden(program)
                if has:
                    wrong += told
                started.end()
            asked = first.asked + second.asked
        return gained, asked, wrong

    gained, asked, wrong = as_ada(race)
    assert wrong == []
    assert asked >= EXECS * POLLS
    assert gained


def test_a_tracer_that_is_root_gives_nothing_away(program: Path, daemon: System) -> None:
    """Under root's trace it keeps its privileges; its user's sessions learn nothing of it."""
    mark = mark_of(program)
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(PATIENCE)

    def race() -> tuple[int, list[object]]:
        ours.close()
        polls = Polls(daemon.address, mark)
        wrong: list[object] = []
        gained = 0
        for _ in range(EXECS // 4):
            started = starting(program)
            theirs.send(str(started.pid).encode())
            assert theirs.recv(1)
            started.start()
            polls.poll(started.pid)
            os.read(started.says, 100)
            polls.poll(started.pid)
            gained += privileged(started.pid)
            wrong += polls.forbidden(program)
            theirs.send(b"0")
            assert theirs.recv(1)
            started.end()
        theirs.close()
        return gained, wrong

    def as_root() -> None:
        theirs.close()
        with Peer(daemon.address) as root:
            while word := ours.recv(100):
                pid = int(word)
                if pid:
                    engine = root.call("engine.attach", pid=pid)["engine"]
                else:
                    root.call("engine.detach", engine=engine)
                ours.send(b"!")

    child = os.fork()
    if child == 0:
        try:
            as_root()
        finally:
            os._exit(0)
    try:
        gained, wrong = as_ada(race)
    finally:
        ours.close()
        theirs.close()
        os.waitpid(child, 0)
    assert wrong == []
    assert gained == EXECS // 4
