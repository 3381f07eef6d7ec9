"""Records passed on as they are: from the execve on, counted, and none too large for a packet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_call_records import record
from tests.observing.test_recorded import CLOSE, EXECVE, PID, Owner
from utraced.api import call_records as records
from utraced.api import events
from utraced.model import Status
from utraced.observing.forwarded import MOST, Forwarded
from utraced.observing.recorded import Reason
from utraced.observing.selection import Selection
from utraced.observing.stop import SyscallStop
from utraced.observing.trace import Trace
from utraced.syscalls.abi import AUDIT_ARCH_X86_64
from utraced.syscalls.memory import Fragment, Snapshot

OPENAT = 257
MASK = (1 << 64) - 1
ENTRY = records.ENTERED.pack(*range(8))


def made(words: tuple[str, ...] = ("all",), **settings: object) -> tuple[Owner, Forwarded]:
    owner = Owner()
    trace = Trace(owner, Selection(words), **settings)  # type: ignore[arg-type]
    trace.id = 7
    return owner, Forwarded(trace, 10, owner.tell)


def none() -> int:
    return 0


def test_records_are_told_as_they_came() -> None:
    owner, forwarded = made()
    data = record(records.ENTRY, ENTRY, nr=CLOSE) + record(records.EXIT, records.RETURNED.pack(0), nr=CLOSE)
    forwarded.take(data, none)
    (event,) = owner.told
    assert isinstance(event, events.Records)
    assert (event.data, event.count, event.format, event.trace) == (data, 2, "calls-1", 7)


def test_what_comes_before_the_execve_is_not() -> None:
    owner, forwarded = made(from_exec=True)
    before = record(records.ENTRY, ENTRY, nr=CLOSE)
    data = record(records.ENTRY, ENTRY, nr=EXECVE)
    forwarded.take(before, none)
    assert owner.told == []
    forwarded.take(before + data, none)
    (event,) = owner.told
    assert isinstance(event, events.Records)
    assert (event.data, event.count) == (data, 1)


def test_what_found_no_room_is_counted_once() -> None:
    owner, forwarded = made()
    forwarded.take(record(records.ENTRY, ENTRY, dropped=3), none)
    forwarded.take(record(records.ENTRY, ENTRY, dropped=3), none)
    assert forwarded.trace.dropped == 3
    forwarded.count_records(5)
    assert forwarded.trace.dropped == 5
    assert len(owner.told) == 2


def test_what_fits_no_packet_is_lost() -> None:
    owner, forwarded = made()
    forwarded.take(record(records.ENTRY, ENTRY + bytes(MOST)), none)
    assert (owner.told, forwarded.trace.dropped) == ([], 1)


def test_how_the_process_ended_is_kept() -> None:
    owner, forwarded = made()
    data = bytearray(record(records.DEATH, records.DIED.pack(3 << 8, 1)))
    data[20:24] = PID.to_bytes(4, "little")
    forwarded.take(bytes(data), none)
    forwarded.end("target_exited", 5)
    assert isinstance(owner.told[-1], events.Detached)
    assert owner.told[-1].status == Status(code=3)


def test_a_call_that_a_thread_was_in_becomes_a_record() -> None:
    owner, forwarded = made(entries=True)
    stop = SyscallStop(11, 50, 0x400000, True, AUDIT_ARCH_X86_64, 0x7FFF0000, OPENAT, (-100 & MASK, 0x1000, 0, 0, 0, 0))
    forwarded.presume(stop, Snapshot([Fragment(0x1000, b"/etc", True)]))
    (event,) = owner.told
    assert isinstance(event, events.Records)
    (head,) = records.heads(event.data)
    assert (head.what, head.pid, head.tid, head.time_ns, head.nr) == (records.IN_CALL, PID, 11, 50, OPENAT)
    assert records.part(records.ENTERED, event.data, head) == (*stop.args, stop.pc, stop.sp)
    (path,) = records.fragments(event.data, head.body + records.ENTERED.size, head.end)
    assert path == records.Fragment(0x1000, b"/etc", ended=True, at_entry=False)
    assert not forwarded.trace.untold


def test_a_call_that_nobody_wants_does_not() -> None:
    owner, forwarded = made(words=("read",))
    forwarded.presume(SyscallStop(11, 50, 0, True, AUDIT_ARCH_X86_64, 0, CLOSE, (0,) * 6), Snapshot())
    assert owner.told == []


DEAD = record(records.DEATH, records.DIED.pack(0, 1))
SILENT = record(records.DETACHED)


@pytest.mark.parametrize(
    ("data", "reason", "told"),
    [
        (SILENT, "target_exited", "policy"),
        (DEAD + SILENT, "target_exited", "policy"),
        (SILENT + DEAD, "target_exited", "target_exited"),
        (SILENT, "client_request", "client_request"),
        (DEAD, "target_exited", "target_exited"),
    ],
    ids=["silent", "last silent", "last dead", "stopped", "dead"],
)
def test_the_last_process_gives_the_reason(data: bytes, reason: Reason, told: str) -> None:
    owner, forwarded = made()
    forwarded.take(data, none)
    forwarded.end(reason, 5)
    assert isinstance(owner.told[-1], events.Detached)
    assert owner.told[-1].reason == told


@given(st.binary(max_size=200))
def test_no_record_is_more_than_bad(data: bytes) -> None:
    _, forwarded = made()
    try:
        forwarded.take(data, none)
    except records.BadRecord:
        return
