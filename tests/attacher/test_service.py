"""What the attacher does for its clients, and what they cannot make it do."""

from __future__ import annotations

import json
import os
import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.attacher.clients import AttacherClient, attacher, close
from tests.children import NOBODY, child, gated, needs_root, own_program
from tests.kernel.recording import RING, narrow_program
from tests.kernel.test_bpf_recording import programs
from tests.live.machine import until
from utraced.api.call_records import heads
from utraced.errors import InvalidParams, LimitExceeded, NoSuchObject, NoSuchProcess, PermissionDenied
from utraced.kernel.bpf_ring import Ring
from utraced.kernel.recorder_requests import End, Record
from utraced.linux.identity import Identity, own_identity

pytestmark = needs_root
USER = Identity(NOBODY, NOBODY)
GETPPID = 110


def record(client: AttacherClient, pid: int, **options: object) -> tuple[int, Ring]:
    """Return a new recording of a process, and its ring."""
    pidfd = os.pidfd_open(pid)
    try:
        answer, fds = client.call(Record(pidfd=0, x86_64=(GETPPID,), ring_size=RING, **options), pidfd)  # type: ignore[arg-type]
    finally:
        os.close(pidfd)
    ring = Ring(fds[answer.ring], fds[answer.counters], answer.ring_size)
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
