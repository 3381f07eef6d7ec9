"""A process that an ordinary user has recorded becomes one that is not his: not one record more is told of it.

Each test has another process do the same without becoming anything, of which all is told: the recording works.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from tests.broker.system import System, folder
from tests.children import needs_root, own_program
from tests.kernel.recording import needs_bpf
from tests.live.conftest import Programs
from tests.security.conftest import privileged
from tests.security.test_privileged_exec import ADA, as_ada
from tests.security.test_reused_pid import taking
from tests.worker.daemon import Peer
from utraced.api import call_records as records
from utraced.syscalls.abi import ABIS

pytestmark = needs_root

GROUP = 3199
IMPOSSIBLE = 77
GETPPID = ABIS["x86_64"].numbers["getppid"]
Deliver = Literal["events", "raw"]
Kind = Literal["set-uid", "set-gid", "capability"]


@pytest.fixture(autouse=True)
def _needs_bpf() -> None:
    needs_bpf()


@pytest.fixture(params=["events", "raw"])
def deliver(request: pytest.FixtureRequest) -> Deliver:
    """Give both ways in which records reach a client."""
    found: Deliver = request.param
    return found


class One(NamedTuple):
    """An event or a record of a process; ``what`` is "call" for one of getppid, "silence", or anything else."""

    pid: int
    tid: int
    what: str


class Told(NamedTuple):
    """All that a trace told, why it ended, and how the process did with which it began."""

    pid: int
    all: list[One]
    reason: str
    status: int

    def calls(self, pid: int) -> int:
        """Return how many calls of getppid were told of a process."""
        return sum(one.pid == pid and one.what == "call" for one in self.all)

    def silent(self) -> set[int]:
        """Return the processes that went silent; what is told of them later fails the test."""
        places = {one.pid: place for place, one in enumerate(self.all) if one.what == "silence"}
        for pid, place in places.items():
            assert [one for one in self.all[place + 1 :] if one.pid == pid] == []
        return set(places)


def of_event(event: dict[str, Any]) -> list[One]:
    """Return what an event tells."""
    if event["kind"] != "records":
        what = event["kind"]
        if what == "detached" and event["reason"] == "policy":
            what = "silence"
        elif what == "syscall" and event["name"] == "getppid":
            what = "call"
        return [One(event["pid"], event["tid"], what)]
    found = []
    for head in records.heads(base64.b64decode(event["data"])):
        what = "silence" if head.what == records.DETACHED else "record"
        if head.what == records.ENTRY and head.nr == GETPPID:
            what = "call"
        found.append(One(head.pid, head.tid, what))
    return found


def until_over(peer: Peer, deliver: Deliver) -> tuple[list[One], str]:
    """Return what is told until a trace is over, and why it is."""
    found: list[One] = []
    for event in peer.events():
        last = event["kind"] == "detached" and "delivered" in event
        if not (last and deliver == "raw"):  # there the record has told it
            found += of_event(event)
        if last:
            return found, event["reason"]
    raise AssertionError(found)


class Gate:
    """Where a child waits, until it is let go on."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def wait(self) -> None:
        os.read(self.reading, 1)

    def let_go(self) -> None:
        os.write(self.writing, b"!")

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


def recorded(address: str, deliver: Deliver, does: Callable[[], object]) -> Told:
    """As ADA: return what is told of a child that does something, and of its children, until all have ended."""
    gate = Gate()
    pid = os.fork()
    if pid == 0:
        try:
            gate.wait()
            does()
        finally:
            os._exit(125)
    with Peer(address) as peer:
        peer.call("trace.start", pid=pid, backend="kernel", follow=True, deliver=deliver, overflow="block")
        gate.let_go()
        found, reason = until_over(peer, deliver)
    _, status = os.waitpid(pid, 0)
    return Told(pid, found, reason, os.waitstatus_to_exitcode(status))


def told_to_ada(address: str, deliver: Deliver, program: Path, *words: str) -> Told:
    """Return what is told to ADA of a program; skips the test where it could not become what it was to."""
    told: Told = as_ada(lambda: recorded(address, deliver, lambda: os.execv(program, ["a-program", *words])))
    if told.status == IMPOSSIBLE:
        pytest.skip(f"this kernel does not let a program be {words[-1]}")
    assert told.status == 0
    return told


@pytest.fixture(scope="module")
def becoming(programs: Programs) -> Iterator[Path]:
    """Give the program, where every user may execute it."""
    with folder() as made:
        path = made / "becoming"
        path.write_bytes(programs("becoming").read_bytes())
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize(
    ("kind", "how", "deliver"),
    [
        ("set-uid", "same", "events"),
        ("set-uid", "same", "raw"),
        ("set-uid", "effective", "raw"),
        ("set-uid", "dropped", "raw"),
        ("set-gid", "same", "raw"),
        ("set-gid", "dropped", "raw"),
        ("capability", "same", "raw"),
        ("capability", "dropped", "events"),
    ],
)
def test_a_program_with_privileges(daemon: System, becoming: Path, kind: Kind, how: str, deliver: Deliver) -> None:
    control = told_to_ada(daemon.address, deliver, becoming, how)
    assert (control.calls(control.pid), control.silent(), control.reason) == (3, set(), "target_exited")
    with privileged(becoming, kind, GROUP) as program:
        told = told_to_ada(daemon.address, deliver, program, how)
    assert (told.calls(told.pid), told.silent(), told.reason) == (0, {told.pid}, "policy")


@pytest.mark.parametrize("how", ["hidden", "namespace"])
def test_a_program_that_hides_or_moves(daemon: System, becoming: Path, deliver: Deliver, how: str) -> None:
    control = told_to_ada(daemon.address, deliver, becoming, "same")
    assert (control.calls(control.pid), control.silent(), control.reason) == (3, set(), "target_exited")
    told = told_to_ada(daemon.address, deliver, becoming, how)
    assert (told.calls(told.pid), told.silent(), told.reason) == (0, {told.pid}, "policy")


def test_a_followed_child_that_executes_a_set_uid_program(daemon: System, becoming: Path, deliver: Deliver) -> None:
    control = told_to_ada(daemon.address, deliver, becoming, "child", str(becoming), "same")
    (child,) = {one.pid for one in control.all} - {control.pid}
    assert (control.calls(control.pid), control.calls(child), control.silent()) == (3, 3, set())
    with privileged(becoming, "set-uid", GROUP) as program:
        told = told_to_ada(daemon.address, deliver, becoming, "child", str(program), "same")
    (child,) = {one.pid for one in told.all} - {told.pid}
    # The parent stays what it was, and is told of to its end.
    assert (told.calls(told.pid), told.calls(child), told.silent()) == (3, 0, {child})
    assert told.reason == "target_exited"


def of_two_threads(address: str, deliver: Deliver, becoming: Path, how: str) -> Told:
    """Return what ADA is told of a process of root's whose first thread is ADA."""
    gate = Gate()
    process = subprocess.Popen([becoming, how, str(ADA)], stdin=gate.reading, stdout=subprocess.PIPE)

    def told() -> Any:
        with Peer(address) as peer:
            peer.call("trace.start", pid=process.pid, backend="kernel", deliver=deliver, overflow="block")
            gate.let_go()
            return until_over(peer, deliver)

    try:
        assert process.stdout is not None
        assert process.stdout.read(1), "root could not make threads of different users"
        found, reason = as_ada(told)
        return Told(process.pid, found, reason, process.wait())
    finally:
        process.kill()
        process.communicate()
        gate.close()


def test_a_thread_with_other_credentials(daemon: System, becoming: Path, deliver: Deliver) -> None:
    control = of_two_threads(daemon.address, deliver, becoming, "threads")
    assert (control.calls(control.pid), control.silent(), control.reason) == (9, set(), "target_exited")
    told = of_two_threads(daemon.address, deliver, becoming, "thread")
    # Of the thread that is the user's, until the other shows that the process is not.
    assert [one.tid for one in told.all if one.what == "call"] == [told.pid] * 3
    assert (told.silent(), told.reason) == ({told.pid}, "policy")


def have_a_child(says: int, gate: Gate) -> None:
    """Have a child that calls getppid and ends, tell its pid, and when let go on call getppid three times."""
    child = os.fork()
    if child == 0:
        os.getppid()
        os._exit(0)
    os.waitpid(child, 0)
    os.write(says, child.to_bytes(4, "little"))
    gate.wait()
    for _ in range(3):
        os.getppid()
    os._exit(0)


def calls_as_ada(gate: Gate) -> None:
    """Be a program of ADA's, which qualifies in all but when it started, and call getppid when let go on."""
    own_program(ADA)
    gate.wait()
    for _ in range(3):
        os.getppid()
    os._exit(0)


def test_a_pid_that_is_used_again(daemon: System, deliver: Deliver) -> None:
    reading, says = os.pipe()
    parent, again = Gate(), Gate()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            lambda: as_ada(lambda: recorded(daemon.address, deliver, lambda: have_a_child(says, parent)))
        )
        try:
            ended = int.from_bytes(os.read(reading, 4), "little")
            pid = taking(ended, lambda: calls_as_ada(again))
            again.let_go()
            os.waitpid(pid, 0)
        finally:
            parent.let_go()
            told: Told = future.result()
    for fd in (reading, says):
        os.close(fd)
    for gate in (parent, again):
        gate.close()
    (child,) = {one.pid for one in told.all} - {told.pid}
    assert pid == child
    assert (told.calls(told.pid), told.calls(child), told.silent()) == (3, 1, set())
    assert (told.reason, told.status) == ("target_exited", 0)
