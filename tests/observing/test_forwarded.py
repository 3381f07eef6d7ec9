"""Records passed on as they are: from the execve on, counted, and none too large for a packet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_call_records import record
from tests.observing.test_recorded import CLOSE, EXECVE, PID, Owner
from utraced.api import call_records as records
from utraced.api import events
from utraced.model import Status
from utraced.observing.forwarded import MOST, Forwarded
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace

ENTRY = records.ENTERED.pack(*range(8))


def made(**settings: object) -> tuple[Owner, Forwarded]:
    owner = Owner()
    trace = Trace(owner, Selection(("all",)), **settings)  # type: ignore[arg-type]
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


@given(st.binary(max_size=200))
def test_no_record_is_more_than_bad(data: bytes) -> None:
    _, forwarded = made()
    try:
        forwarded.take(data, none)
    except records.BadRecord:
        return
