"""Records become the events that the daemon would have told."""

from __future__ import annotations

from subprocess import PIPE, Popen
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_call_records import fragment, record, stacked
from tests.children import needs_root
from tests.kernel.recording import needs_bpf
from utracectl.client import connect
from utracectl.decoding import RecordsDecoder
from utraced.api import call_records as records
from utraced.api import events, trace

GETPPID, READ, OPENAT = 110, 0, 257
ENTERED = records.ENTERED.pack(*range(6), 0x400000, 0x7FFF0000)


def decoder(**settings: Any) -> RecordsDecoder:
    start = trace.Start(pid=10, deliver="raw", **settings)
    return RecordsDecoder(start, trace.Started(trace=1, backend="kernel", deliver="raw"))


def raw(*data: bytes) -> events.Records:
    return events.Records(trace=1, pid=10, data=b"".join(data), count=len(data), format=records.FORMAT)


def names(told: Any) -> list[str]:
    return [getattr(event, "name", type(event).__name__) for event in told]


def test_a_call_in_two_packets_is_one_event() -> None:
    made = decoder()
    assert made.take(raw(record(records.ENTRY, ENTERED, nr=GETPPID))) == []
    (event,) = made.take(raw(record(records.EXIT, records.RETURNED.pack(5), nr=GETPPID)))
    assert isinstance(event, events.Syscall)
    assert (event.name, event.result, event.pid, event.tid, event.trace) == ("getppid", 5, 10, 11, 1)


def test_other_events_pass() -> None:
    made = decoder()
    others: list[events.AnyEvent] = [
        events.Detached(trace=2, reason="policy"),
        events.Detached(trace=1, reason="target_exited", delivered=0, lost=0),
        events.Lost(trace=1, count=3),
        events.Sync(),
    ]
    assert [list(made.take(event)) for event in others] == [[event] for event in others]


def test_what_is_unfinished_comes_before_the_end() -> None:
    made = decoder()
    made.take(raw(record(records.ENTRY, ENTERED, nr=READ)))
    told = list(made.take(events.Detached(trace=1, reason="client_request", delivered=1, lost=0)))
    assert names(told) == ["read", "Detached"]
    assert told[0].unfinished  # type: ignore[attr-defined]


def test_a_process_that_falls_silent_is_told_while_others_go_on() -> None:
    made = decoder(follow=True)
    told = made.take(raw(
        record(records.CLONE, records.CLONED.pack(12, 12, 0)),
        record(records.DETACHED),
    ))  # fmt: skip
    assert names(told) == ["Clone", "Detached"]
    detached = list(told)[1]
    assert isinstance(detached, events.Detached)
    assert (detached.reason, detached.pid, detached.delivered) == ("policy", 10, None)


def test_the_end_is_told_by_the_daemon_alone() -> None:
    made = decoder()
    assert names(made.take(raw(record(records.ENTRY, ENTERED, nr=READ), record(records.DETACHED)))) == ["read"]


def test_a_call_that_a_thread_was_in_may_go_without_an_exit() -> None:
    made = decoder()
    path = fragment(0x1, b"/etc", records.ENDED)
    made.take(raw(record(records.IN_CALL, ENTERED, path, nr=OPENAT)))
    assert made.take(raw(record(records.ENTRY, ENTERED, nr=GETPPID))) == []
    (event,) = made.take(raw(record(records.EXIT, records.RETURNED.pack(5), nr=GETPPID)))
    assert isinstance(event, events.Syscall)
    assert event.name == "getppid"


def test_only_what_fails_where_that_was_asked_for() -> None:
    made = decoder(failed_only=True)
    told = []
    for result in (0, -9):
        told += made.take(raw(record(records.ENTRY, ENTERED, nr=READ)))
        told += made.take(raw(record(records.EXIT, records.RETURNED.pack(result), nr=READ)))
    assert [event.errno for event in told] == ["EBADF"]  # type: ignore[attr-defined]


def test_calls_that_last_are_told_once() -> None:
    made = decoder(entries=True)
    assert list(made.overdue()) == []
    made.take(raw(record(records.ENTRY, ENTERED, nr=READ)))
    assert made.waiting
    assert names(made.overdue(50)) == []
    assert names(made.overdue()) == ["read"]
    assert names(made.overdue()) == []
    assert not made.waiting


def test_a_format_of_another_version_is_noted() -> None:
    made = decoder()
    assert made.take(events.Records(trace=1, pid=10, data=b"", count=1, format="calls-2")) == []
    assert made.damaged


@given(st.lists(st.binary(max_size=120), max_size=5))
def test_no_bytes_are_more_than_damaged(packets: list[bytes]) -> None:
    made = decoder(entries=True, follow=True)
    for data in packets:
        made.take(raw(data))


@needs_root
def test_records_of_the_kernel_s_give_what_the_daemon_decodes() -> None:
    needs_bpf()
    told: dict[str, list[tuple[object, ...]]] = {}
    for deliver in ("events", "raw"):
        found = told[deliver] = []
        with Popen(["sh", "-c", "read line; : </dev/null"], stdin=PIPE) as target, connect() as client:
            request = trace.Start(pid=target.pid, backend="kernel", deliver=deliver, syscalls=("%file", "close"))  # type: ignore[arg-type]
            started = client.call(request)
            assert started.deliver == deliver
            made = RecordsDecoder(request, started)
            target.communicate(b"go\n")
            for event in client.events():
                for one in made.take(event):
                    found.append((type(one).__name__, getattr(one, "name", ""), getattr(one, "strings", None)))
                if isinstance(event, events.Detached):
                    break
    assert told["raw"] == told["events"]
    assert ("Syscall", "openat", {"1": events.Text(text="/dev/null")}) in told["raw"]


def test_a_stack_is_told_where_it_was_asked_for() -> None:
    data = record(records.ENTRY, ENTERED, stacked(0x401000, 0x402000), nr=GETPPID)
    made = decoder(stacks=True)
    made.take(raw(data))
    (event,) = made.take(raw(record(records.EXIT, records.RETURNED.pack(5), nr=GETPPID)))
    assert isinstance(event, events.Syscall)
    assert event.stack == ("0x401000", "0x402000")
