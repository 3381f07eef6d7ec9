"""What the attacher does for its clients, and what they cannot make it do."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.attacher.clients import Attacher, AttacherClient, attacher, close
from tests.children import NOBODY, child, gated, libc, needs_root, own_program
from tests.kernel.recording import RING, narrow_program
from tests.kernel.test_bpf_recording import programs
from tests.kernel.test_perf_events import points
from tests.live.machine import status, until
from utraced.api.call_records import DEATH, ENTRY, EXIT, heads
from utraced.attacher import event_traces
from utraced.attacher.service import Service
from utraced.attacher.starting import NAME
from utraced.errors import InvalidParams, LimitExceeded, NoSuchObject, NoSuchProcess, PermissionDenied
from utraced.kernel import tracepoints
from utraced.kernel.bpf_ring import Ring
from utraced.kernel.perf_recording import PerfRecording
from utraced.kernel.recorder_requests import End, Record
from utraced.linux.capabilities import CAP_SYS_PTRACE
from utraced.linux.identity import Identity, own_identity

pytestmark = needs_root
USER = Identity(NOBODY, NOBODY)
GETPPID = 110
PR_SET_DUMPABLE = 4


def record(client: AttacherClient, pid: int, **options: object) -> tuple[int, Ring]:
    """Return a new recording of a process, and its ring."""
    pidfd = os.pidfd_open(pid)
    try:
        answer, fds = client.call(Record(pidfd=0, x86_64=(GETPPID,), ring_size=RING, **options), pidfd)  # type: ignore[arg-type]
    finally:
        os.close(pidfd)
    ring = Ring(fds[answer.ring], fds[answer.counters], answer.ring_size, twice=answer.twice)
    close(fds)
    return answer.recording, ring


def test_a_client_gets_the_ring_of_its_process() -> None:
    with attacher() as found, found.client(own_identity()) as client:
        number, ring = record(client, os.getpid())
        os.getppid()
        assert ring.waiting
        client.call(End(recording=number))
        ring.take()
        os.getppid()
        assert not ring.waiting
        ring.close()


def test_what_a_client_recorded_ends_with_its_connection() -> None:
    before = programs()
    with attacher() as found:
        with found.client(own_identity()) as client:
            _, ring = record(client, os.getpid())
            assert programs() - before
        until(lambda: not programs() - before, "nothing of ours in the kernel")
        ring.close()


def test_a_user_gets_his_own_process_and_nobody_elses() -> None:
    with attacher() as found, found.client(USER) as client:
        with child(own_program) as own:
            record(client, own)[1].close()
        with child() as roots, pytest.raises(PermissionDenied):
            record(client, roots)
        with child(lambda: own_program(NOBODY, NOBODY - 1)) as other_group, pytest.raises(PermissionDenied):
            record(client, other_group)


def test_a_process_that_has_ended_is_none() -> None:
    with attacher() as found, found.client(own_identity()) as client:
        with child() as pid:
            pidfd = os.pidfd_open(pid)
        with pytest.raises(NoSuchProcess):
            client.call(Record(pidfd=0), pidfd)
        os.close(pidfd)


def test_there_is_a_bound() -> None:
    with attacher() as found, found.client(own_identity()) as client:
        numbers = []
        for _ in range(64):
            number, ring = record(client, os.getpid())
            ring.close()
            numbers.append(number)
        with pytest.raises(LimitExceeded):
            record(client, os.getpid())
        for number in numbers:
            client.call(End(recording=number))
        with pytest.raises(NoSuchObject):
            client.call(End(recording=numbers[0]))


def test_where_a_tracepoint_has_as_many_programs_as_it_can_all_calls_are_looked_at() -> None:
    with attacher() as found, found.client(own_identity()) as client, found.client(own_identity()) as other:
        for _ in range(64):
            record(client, os.getpid())[1].close()
        for _ in range(2):
            _, ring = record(other, os.getpid())
            os.getppid()
            assert any(head.nr == GETPPID for head in heads(ring.take()))
            ring.close()


def test_odd_requests_are_refused() -> None:
    with attacher() as found, found.client(own_identity()) as client, open("/dev/null", "rb") as null:
        with pytest.raises(InvalidParams):
            client.call(Record(pidfd=0), null.fileno())
        with pytest.raises(InvalidParams):
            client.call(Record(pidfd=0))
        own = os.pidfd_open(os.getpid())
        with pytest.raises(InvalidParams, match="power of two"):
            client.call(Record(pidfd=0, ring_size=RING + 1), own)
        os.close(own)


REQUESTS: list[object] = [
    {"jsonrpc": "2.0", "id": 1, "method": "recorder.record", "params": {"pidfd": 0, "x86_64": [-1]}},
    {"jsonrpc": "2.0", "id": 1, "method": "recorder.record", "params": {"pidfd": 0, "x86_64": [1] * 513}},
    {"jsonrpc": "2.0", "id": 1, "method": "recorder.record", "params": {"pidfd": 0, "strings": 1 << 40}},
    {"jsonrpc": "2.0", "id": 1, "method": "recorder.record", "params": {"pidfd": 0, "ring_size": 1 << 40}},
    {"jsonrpc": "2.0", "id": 1, "method": "recorder.record", "params": {"pidfd": 15}},
    {"jsonrpc": "2.0", "id": 1, "method": "recorder.record", "params": {"pidfd": 0, "program": "AAAA"}},
    {"jsonrpc": "2.0", "id": 1, "method": "recorder.end", "params": {"recording": 0}},
    {"jsonrpc": "2.0", "id": 1, "method": "trace.start", "params": {}},
    [],
    [[]],
]


def test_whatever_a_client_sends_others_are_served() -> None:
    chance = random.Random(7)
    packets = [json.dumps(one).encode() for one in REQUESTS]
    valid = b'{"jsonrpc":"2.0","id":1,"method":"recorder.record","params":{"pidfd":0,"x86_64":[110]}}'
    for _ in range(300):
        damaged = bytearray(valid)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        packets.append(bytes(damaged))
    packets += [chance.randbytes(chance.randint(1, 100)) for _ in range(100)]
    with attacher() as found, found.client(own_identity()) as good, open("/dev/null", "rb") as null:
        with found.client(USER) as bad:
            for packet in packets:
                bad.send(packet, (null.fileno(),))
                assert bad.receive().data
        with found.client(USER) as large:
            large.send(b" " * 100_000)
            assert b"limit_exceeded" in large.receive().data
        number, ring = record(good, os.getpid())
        ring.close()
        good.call(End(recording=number))


def given_up(client: AttacherClient) -> bool:
    """Ask without reading the answer; tell whether the connection is over."""
    try:
        client.send(b"{}")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_a_client_that_takes_no_answer_is_given_up() -> None:
    with attacher() as found, found.client(own_identity()) as good, found.client(USER) as bad:
        until(lambda: given_up(bad), "the end of the connection")
        number, ring = record(good, os.getpid())
        ring.close()
        good.call(End(recording=number))


def test_a_user_has_not_all_that_the_kernel_can_hold() -> None:
    with attacher() as found, found.client(USER) as one, found.client(USER) as other, child(own_program) as pid:
        for client in (one, other) * 4:
            record(client, pid)[1].close()
        with pytest.raises(LimitExceeded, match="user 65534"):
            record(one, pid)


def test_a_32_bit_program_that_is_executed_is_seen(tmp_path: Path) -> None:
    program = narrow_program(tmp_path)
    with (
        attacher() as found,
        found.client(own_identity()) as client,
        gated(lambda: os.execv(program, [str(program)])) as (pid, go),
    ):
        _, ring = record(client, pid, i386=(64,))
        go()
        until(lambda: any(head.abi == 1 for head in heads(ring.take())), "a call of a 32-bit program")
        ring.close()


def test_a_worker_s_new_connection_takes_the_place_of_its_former() -> None:
    with ExitStack() as stack:
        found = stack.enter_context(attacher())
        former, other, new = (stack.enter_context(found.client(USER, worker)) for worker in (1, 2, 1))
        pid = stack.enter_context(child(own_program))
        assert not former.receive().data
        for client in (new, other):
            record(client, pid)[1].close()


# By events


def test_by_events_all_is_written_when_the_end_is_answered() -> None:
    with attacher() as found, found.client(own_identity()) as client, gated(os.getppid) as (pid, go):
        number, ring = record(client, pid, by="perf")
        go()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        client.call(End(recording=number))
        assert [head.what for head in heads(ring.take())] == [ENTRY, EXIT, DEATH]
        ring.close()
        with pytest.raises(NoSuchObject):
            client.call(End(recording=number))


def test_by_events_nothing_of_others_is_told() -> None:
    with attacher() as found, found.client(USER) as client:
        with pytest.raises(PermissionDenied):
            record(client, os.getpid(), by="perf")
        with child(lambda: own_program(NOBODY)) as pid:
            number, ring = record(client, pid, by="perf")
            client.call(End(recording=number))
            ring.close()


def test_one_that_hides_while_its_events_are_opened_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacher is a thread of ours, so that the process can hide between the kernel's first answer and them."""
    points()
    waits, go = os.pipe()
    hears, says = os.pipe()

    def act() -> None:
        own_program(NOBODY)
        os.write(says, b"r")
        os.read(waits, 1)
        libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        os.write(says, b"h")
        os.read(waits, 1)

    def late(*given: Any, **options: Any) -> PerfRecording:
        os.write(go, b"!")
        assert os.read(hears, 1) == b"h"
        return recorded(*given, **options)

    recorded = event_traces.record
    monkeypatch.setattr(event_traces, "record", late)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    service = Service(theirs, CAP_SYS_PTRACE, tracepoints=tracepoints.find())
    serving = threading.Thread(target=service.run)
    serving.start()
    with gated(act) as (pid, start):
        start()
        assert os.read(hears, 1) == b"r"
        with Attacher(ours).client(USER) as client, pytest.raises(PermissionDenied):
            record(client, pid, by="perf")
        os.write(go, b"!")
    ours.close()
    serving.join()
    for fd in (waits, go, hears, says):
        os.close(fd)


def test_by_events_what_a_client_recorded_ends_with_its_connection() -> None:
    with (
        attacher() as found,
        gated(os.getppid) as (pid, _),
        found.client(own_identity()) as client,
        found.client(own_identity()) as other,
    ):
        record(client, pid, by="perf")[1].close()
        serving = server()
        held = descriptors(serving)
        client.socket.close()
        until(lambda: descriptors(serving) < held - 8, "its events to be closed")
        record(other, pid, by="perf")[1].close()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def server() -> int:
    """Return the attacher, the youngest of that name: it is nobody's child."""
    named = [int(name) for name in os.listdir("/proc") if name.isdigit() and status(int(name)).get("Name") == NAME]
    return max(named)
