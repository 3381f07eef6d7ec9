"""A worker with its attacher: what it tells of recorded traces, and what is left of them when one of both is killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import msgspec
import pytest

from tests.children import child, gated, needs_root
from tests.kernel.recording import RING, needs_bpf, recording
from tests.kernel.recording import run as run_recorded
from tests.kernel.test_bpf_recording import programs
from tests.kernel.test_bpf_writing import OWN, SMALL, hide_unseen, run_guarded
from tests.live.machine import children, state, status, until, wait_end
from tests.observing.test_recorded import Owner
from tests.worker.embedded import adopting
from utracectl.client import Client, client_of
from utracectl.connect import start_worker
from utraced.api import call_records as records
from utraced.api import events, trace
from utraced.api.events import AnyEvent
from utraced.attacher.starting import NAME
from utraced.errors import Gone, NoSuchProcess, Unsupported
from utraced.kernel.recorder_requests import Record
from utraced.linux import sockets
from utraced.linux.identity import Identity
from utraced.observing.recorded import Recorded
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace
from utraced.worker.attachers import OwnAttacher
from utraced.worker.recording import Recorder

pytestmark = needs_root


@pytest.fixture(autouse=True)
def _adopting() -> Iterator[None]:
    needs_bpf()
    with adopting():
        yield


@pytest.fixture
def worker() -> Iterator[tuple[Client, int]]:
    link = start_worker()
    assert link.worker is not None
    with client_of(link) as client:
        yield client, link.worker
    wait_end(link.worker)
    os.waitpid(link.worker, 0)


def attacher() -> int:
    return next(pid for pid in children(os.getpid()) if status(pid).get("Name") == NAME)


def until_told(client: Client, kind: type[AnyEvent]) -> list[AnyEvent]:
    told: list[AnyEvent] = []
    for event in client.events():
        told.append(event)
        if isinstance(event, kind):
            return told
    raise AssertionError


def caller(go: int, calls: int) -> None:
    """Wait for ``go`` to close, then call getppid so often, and end."""
    os.read(go, 1)
    for _ in range(calls):
        os.getppid()
    os._exit(7)


def start(client: Client, pid: int, **options: object) -> trace.Started:
    return client.call(trace.Start(pid=pid, backend="kernel", **options))  # type: ignore[arg-type]


def run(client: Client, calls: int, **options: object) -> list[AnyEvent]:
    """Return what is told of a process that makes so many calls."""
    go, gate = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gate)
        caller(go, calls)
    os.close(go)
    assert start(client, pid, **options).backend == "kernel"
    os.close(gate)
    os.waitpid(pid, 0)
    return until_told(client, events.Detached)


def test_calls_are_told_until_the_process_ends(worker: tuple[Client, int]) -> None:
    told = run(worker[0], 3, syscalls=("getppid",))
    *calls, death, detached = told
    assert [call.name for call in calls if isinstance(call, events.Syscall)] == ["getppid"] * 3
    assert isinstance(death, events.Death)
    assert isinstance(detached, events.Detached)
    assert (detached.reason, detached.delivered, detached.lost) == ("target_exited", 3, 0)
    assert detached.status is not None
    assert detached.status.code == 7


def test_a_thread_is_seen_in_the_call_that_it_was_in(worker: tuple[Client, int]) -> None:
    client, _ = worker
    with child() as pid:
        until(lambda: state(pid) == "S", "a process that sleeps")
        started = start(client, pid, entries=True)
        told = until_told(client, events.SyscallEntry)
        assert [event.name for event in told if isinstance(event, events.SyscallEntry)] == ["pause"]
        assert client.call(trace.Stop(trace=started.trace)) == trace.Totals(delivered=1, lost=0)
        (call, detached) = client.poll(0)
        assert isinstance(call, events.Syscall)
        assert call.unfinished
        assert isinstance(detached, events.Detached)
        with pytest.raises(Gone):
            client.call(trace.Stop(trace=started.trace))


def test_all_of_a_hundred_thousand_calls_are_told(worker: tuple[Client, int]) -> None:
    told = run(worker[0], 100_000, syscalls=("getppid",), overflow="block")
    assert sum(isinstance(event, events.Syscall) for event in told) == 100_000
    assert isinstance(told[-1], events.Detached)
    assert (told[-1].delivered, told[-1].lost) == (100_000, 0)


def test_what_a_client_does_not_read_is_counted(worker: tuple[Client, int]) -> None:
    told = run(worker[0], 30_000, syscalls=("getppid",))
    detached = told[-1]
    assert isinstance(detached, events.Detached)
    calls = sum(isinstance(event, events.Syscall) for event in told)
    lost = sum(event.count for event in told if isinstance(event, events.Lost))
    assert (detached.delivered, detached.lost) == (calls, lost)
    assert calls + lost == 30_000


def test_a_process_that_is_gone_is_not_traced(worker: tuple[Client, int]) -> None:
    with child() as pid:
        pass
    with pytest.raises(NoSuchProcess):
        start(worker[0], pid)


def test_nothing_is_left_where_the_attacher_is_killed(worker: tuple[Client, int]) -> None:
    client, _ = worker
    before = programs()
    with child() as pid:
        start(client, pid)
        killed = attacher()
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
        told = until_told(client, events.Detached)
        assert isinstance(told[-1], events.Detached)
        assert told[-1].reason == "daemon_stopping"
        until(lambda: not programs() - before, "nothing of ours in the kernel")
        assert state(pid) == "S"
        # The next trace has an attacher of its own.
        assert start(client, pid).backend == "kernel"


def test_nothing_is_left_where_the_worker_is_killed(worker: tuple[Client, int]) -> None:
    client, worker_pid = worker
    before = programs()
    with child() as pid:
        start(client, pid)
        assert programs() - before
        os.kill(worker_pid, signal.SIGKILL)
        until(lambda: not programs() - before, "nothing of ours in the kernel")
        assert state(pid) == "S"


def test_nothing_is_left_where_the_client_goes() -> None:
    before = programs()
    with child() as pid:  # before there is a connection, of which it would have a copy
        link = start_worker()
        assert link.worker is not None
        with client_of(link) as client:
            start(client, pid)
            assert programs() - before
        until(lambda: not programs() - before, "nothing of ours in the kernel")
        assert state(pid) == "S"
        wait_end(link.worker)
        os.waitpid(link.worker, 0)


def test_records_are_passed_on(worker: tuple[Client, int]) -> None:
    told = run(worker[0], 5000, syscalls=("getppid",), deliver="raw", overflow="block")
    passed = [event for event in told if isinstance(event, events.Records)]
    heads = [head for event in passed for head in records.heads(event.data)]
    assert [head.nr for head in heads if head.what == records.ENTRY] == [110] * 5000
    assert sum(event.count for event in passed) == len(heads)
    assert isinstance(told[-1], events.Detached)
    assert (told[-1].delivered, told[-1].lost) == (len(heads), 0)


@pytest.mark.parametrize("from_exec", [False, True], ids=["at once", "from its exec"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [({"failed_only": True}, ["rmdir", "rmdir"]), ({"path_prefix": "/nowhere"}, ["rmdir"])],
    ids=["failing calls", "paths"],
)
def test_only_some_calls_are_told(
    worker: tuple[Client, int], options: dict[str, object], expected: list[str], from_exec: bool
) -> None:
    client, _ = worker
    script = "import ctypes; l = ctypes.CDLL(None); l.rmdir(b'/nowhere/a'), l.rmdir(b'/elsewhere/b')"
    for backend in ("ptrace", "kernel"):
        with gated(lambda: os.execv(sys.executable, [sys.executable, "-c", script])) as (pid, go):
            call = trace.Start(pid=pid, backend=backend, syscalls=("rmdir",), from_exec=from_exec, **options)  # type: ignore[arg-type]
            client.call(call)
            go()
            told = until_told(client, events.Detached)
        calls = [event for event in told if isinstance(event, events.Syscall)]
        assert [event.name for event in calls] == expected
        assert [event.errno for event in calls] == ["ENOENT"] * len(expected)
        assert calls[0].strings is not None
        assert calls[0].strings["0"].text == "/nowhere/a"
        assert any(isinstance(event, events.Exec) for event in told)


def test_records_of_calls_that_fail_alone_are_passed_on(worker: tuple[Client, int]) -> None:
    client, _ = worker
    with gated(lambda: os.execv("/bin/ls", ["ls", "/nowhere/at/all"])) as (pid, go):
        client.call(trace.Start(pid=pid, backend="kernel", deliver="raw", failed_only=True, from_exec=True))
        go()
        told = until_told(client, events.Detached)
    heads = [head for event in told if isinstance(event, events.Records) for head in records.heads(event.data)]
    whats = [head.what for head in heads if head.what in {records.ENTRY, records.EXIT}]
    assert whats == [records.ENTRY, records.EXIT] * (len(whats) // 2) != []
    assert heads[0].what == records.EXEC


def test_what_is_not_built_is_unsupported(worker: tuple[Client, int]) -> None:
    with pytest.raises(Unsupported):
        worker[0].call(trace.Start(pid=os.getpid(), backend="ptrace", deliver="raw"))


def test_calls_are_told_with_their_stacks(worker: tuple[Client, int]) -> None:
    calls = [one for one in run(worker[0], 3, syscalls=("getppid",), stacks=True) if isinstance(one, events.Syscall)]
    assert [one.name for one in calls] == ["getppid"] * 3
    for call in calls:
        assert call.stack is not None
        assert call.stack[0] == call.pc


def test_an_answer_to_a_request_that_was_cancelled_ends_the_recording() -> None:
    """The test is the attacher, and answers when nobody waits any more."""
    control, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    nothing: Any = None

    async def dialogue() -> bytes:
        recorder = Recorder(OwnAttacher(lambda: control, Identity(0, 0)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recorder.run)
            with anyio.move_on_after(0.01):
                await recorder.begin(Record(pidfd=0), ours.fileno(), nothing)
            (fd,) = sockets.receive(ours, 1 << 16).fds
            with socket.socket(fileno=fd) as client:
                os.close(*sockets.receive(client, 1 << 16).fds)
                answer = {"recording": 9, "ring": 0, "counters": 1, "ring_size": 1 << 20}
                reply = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "result": answer})
                reading, writing = os.pipe()
                sockets.send(client, reply, (writing, writing))
                os.close(writing)
                await anyio.wait_readable(client)
                ended = sockets.receive(client, 1 << 16).data
                await anyio.wait_readable(reading)
                assert os.read(reading, 1) == b"", "the descriptors are closed"
                os.close(reading)
            tasks.cancel_scope.cancel()
        recorder.close()
        return ended

    with ours:
        ended = msgspec.json.decode(anyio.run(dialogue))
    assert (ended["method"], ended["params"]) == ("recorder.end", {"recording": 9})


class Played:
    """A recorder, to which the test is the attacher."""

    def __init__(self) -> None:
        control, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.recorder = Recorder(OwnAttacher(lambda: control, Identity(0, 0)))
        self._client: socket.socket | None = None

    async def asked(self) -> int:
        """Wait for a request of the recorder's, and return its id."""
        if self._client is None:
            await anyio.wait_readable(self._ours)
            (fd,) = sockets.receive(self._ours, 1 << 16).fds
            self._client = socket.socket(fileno=fd)
        await anyio.wait_readable(self._client)
        received = sockets.receive(self._client, 1 << 16)
        for fd in received.fds:
            os.close(fd)
        number: int = msgspec.json.decode(received.data)["id"]
        return number

    def answer(self, number: int, result: object, fds: tuple[int, ...] = ()) -> None:
        assert self._client is not None
        sockets.send(self._client, msgspec.json.encode({"jsonrpc": "2.0", "id": number, "result": result}), fds)

    def close(self) -> None:
        self.recorder.close()
        self._ours.close()
        if self._client is not None:
            self._client.close()


@pytest.mark.parametrize("end", ["exits", "dropped"])
def test_a_trace_may_end_while_it_is_being_stopped(end: str) -> None:
    played, told = Played(), []
    trace_ = Trace(Owner(), Selection(("all",)))

    async def dialogue() -> None:
        over = anyio.Event()

        def tell(event: events.Event) -> None:
            told.append(event)
            if isinstance(event, events.Detached):
                over.set()

        recorded = Recorded(trace_, os.getpid(), tell)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(played.recorder.run)
            async with anyio.create_task_group() as beginning:
                beginning.start_soon(played.recorder.begin, Record(pidfd=0), 0, recorded)
                answer = {"recording": 1, "ring": 0, "counters": 1, "ring_size": RING}
                played.answer(await played.asked(), answer, made.shared)
            async with anyio.create_task_group() as stopping:
                stopping.start_soon(played.recorder.finish, recorded, "client_request")
                number = await played.asked()
                if end == "exits":
                    run_recorded(made, os.getpid)
                    await over.wait()
                else:
                    played.recorder.drop(recorded)
                played.answer(number, {})
            tasks.cancel_scope.cancel()

    with recording("getpid") as made:
        try:
            anyio.run(dialogue)
        finally:
            played.close()
    ends = [event.reason for event in told if isinstance(event, events.Detached)]
    assert ends == (["target_exited"] if end == "exits" else [])


def test_a_trace_that_ends_in_silence_says_so_where_the_record_of_that_finds_no_room() -> None:
    played, told = Played(), []
    trace_ = Trace(Owner(), Selection(("all",)))

    async def dialogue() -> None:
        over = anyio.Event()

        def tell(event: events.Event) -> None:
            told.append(event)
            if isinstance(event, events.Detached):
                over.set()

        recorded = Recorded(trace_, os.getpid(), tell)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(played.recorder.run)
            async with anyio.create_task_group() as beginning:
                beginning.start_soon(played.recorder.begin, Record(pidfd=0), 0, recorded)
                answer = {"recording": 1, "ring": 0, "counters": 1, "ring_size": SMALL}
                played.answer(await played.asked(), answer, made.shared)
            run_guarded(made, hide_unseen)  # the loop, which would make room, stands still
            await over.wait()
            tasks.cancel_scope.cancel()

    with recording("getppid", guard=OWN, ring=SMALL) as made:
        try:
            anyio.run(dialogue)
        finally:
            played.close()
    assert [event.reason for event in told if isinstance(event, events.Detached)] == ["policy"]
    assert trace_.dropped
