"""Recordings of real processes by events: what is told, what is counted, and that nothing is left."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.children import gated, needs_root
from tests.kernel.test_perf_events import points
from tests.live.machine import until
from utraced.api import call_records as records
from utraced.kernel import perf_calls, perf_filters, perf_recording
from utraced.kernel.bpf_ring import Counters, Ring
from utraced.kernel.perf_recording import Filters, PerfRecording, Restless
from utraced.kernel.perf_translation import Settings, Wanted

pytestmark = needs_root
GETPPID, GETPID = 110, 39
RING = 1 << 20


def recording(pid: int, *numbers: int, ring_size: int = RING, **settings: object) -> PerfRecording:
    """Return a recording of a process."""
    beside = perf_filters.of_numbers(perf_calls.numbers(guarded=False))
    assert beside is not None
    return PerfRecording(
        pid,
        points(),
        Filters(perf_filters.of_numbers(numbers), beside),
        Settings(Wanted(numbers, (), others=False), **settings),  # type: ignore[arg-type]
        narrow=False,
        ring_size=ring_size,
    )


@contextmanager
def recorded(act: Callable[[], object], *numbers: int, **options: object) -> Iterator[tuple[PerfRecording, int]]:
    """Give the recording of a child, when that has ended."""
    with gated(act) as (pid, go):
        made = recording(pid, *numbers, **options)  # type: ignore[arg-type]
        try:
            made.start()
            go()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            yield made, pid
        finally:
            made.close()


def rest(made: PerfRecording, size: int = RING) -> tuple[list[records.Head], Counters]:
    """Return what is told in all when the recording is finished."""
    made.finish()
    os.eventfd_read(made.fileno())
    ring = Ring(made.shared.ring, made.shared.counters, size, twice=False)
    try:
        heads = []
        while data := ring.take():
            heads += list(records.heads(data))
        return heads, ring.counters()
    finally:
        ring.close()


def test_a_process_is_told_of_to_its_end() -> None:
    with recorded(lambda: [os.getppid() for _ in range(3)], GETPPID) as (made, pid):
        heads, counters = rest(made)
    assert [head.what for head in heads] == [records.ENTRY, records.EXIT] * 3 + [records.DEATH]
    assert {(head.pid, head.tid) for head in heads} == {(pid, pid)}
    assert [head.time_ns for head in heads] == sorted(head.time_ns for head in heads)
    assert (counters.processes, counters.dropped, counters.silenced) == (-1, 0, False)


def test_the_end_is_told_without_being_asked() -> None:
    with recorded(os.getppid, GETPPID) as (made, _):
        ring = Ring(made.shared.ring, made.shared.counters, RING, twice=False)
        until(lambda: ring.counters().processes < 0, "the end")
        assert ring.waiting > 0
        ring.close()


def threads_and_children() -> None:
    thread = threading.Thread(target=os.getppid)
    thread.start()
    thread.join()
    if os.fork() == 0:
        os.getppid()
        os._exit(0)
    os.wait()


@pytest.mark.parametrize("follow", [True, False])
def test_new_threads_are_seen_and_children_where_they_are_followed(follow: bool) -> None:
    with recorded(threads_and_children, GETPPID, follow=follow) as (made, pid):
        heads, _ = rest(made)
    assert [head.what for head in heads].count(records.CLONE) == 2
    calls = [head for head in heads if head.what == records.ENTRY]
    assert [head.pid == pid for head in calls] == [True, False][: 1 + follow]
    assert calls[0].tid != pid


def test_threads_that_are_there_are_seen() -> None:
    reading, writing = os.pipe()
    says, hears = os.pipe()

    def work() -> None:
        os.write(hears, b"!")
        os.read(reading, 1)
        os.getppid()

    pid = os.fork()
    if pid == 0:
        try:
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            os.getppid()
        finally:
            os._exit(0)
    os.read(says, 1)
    os.read(says, 1)
    made = recording(pid, GETPPID)
    made.start()
    os.write(writing, b"..")
    os.waitpid(pid, 0)
    heads, _ = rest(made)
    made.close()
    for fd in (reading, writing, says, hears):
        os.close(fd)
    assert len({head.tid for head in heads if head.what == records.ENTRY}) == 3
    assert [head.what for head in heads].count(records.DEATH) == 3


@pytest.mark.parametrize("of", ["the kernel's rings", "ours"])
def test_what_is_lost_is_counted_exactly(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, size = 20_000, RING
    if of == "ours":
        size = 1 << 16
    else:
        monkeypatch.setattr(perf_recording, "SIZES", (1 << 13,))
        monkeypatch.setattr(perf_recording, "INTERVAL", 0.2)
    with recorded(lambda: [os.getppid() for _ in range(calls)], GETPPID, ring_size=size) as (made, _):
        heads, counters = rest(made, size)
    entries = sum(head.what == records.ENTRY for head in heads)
    exits = sum(head.what == records.EXIT for head in heads)
    assert entries < calls
    assert entries + counters.entries == calls
    assert exits <= entries
    assert counters.dropped == counters.entries + counters.exits + counters.others


def test_where_too_much_is_lost_to_know_who_is_there_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_recording, "SIDE_SIZES", (1 << 12,))

    def act() -> None:
        for _ in range(60):
            if os.fork() == 0:
                os._exit(0)
            os.wait()
        os.getpid()

    with recorded(act, GETPID, follow=True) as (made, pid):
        heads, counters = rest(made)
    assert counters.silenced
    assert pid in {head.pid for head in heads if head.what == records.DETACHED}
    assert records.ENTRY not in {head.what for head in heads}


@pytest.mark.parametrize(
    ("cpus", "limited", "most"),
    [
        (1, False, 8 << 20),
        (8, False, 8 << 20),
        (9, False, 4 << 20),
        (256, False, 256 << 10),
        (4096, False, 64 << 10),
        (1, True, 1 << 20),
        (4096, True, 64 << 10),
    ],
)
def test_rings_are_as_large_as_all_of_them_may_be(
    cpus: int, limited: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perf_recording, "locked_memory_limited", lambda: limited)
    sizes = perf_recording._sizes(cpus)
    assert sizes == tuple(size for size in perf_recording.SIZES if size <= most)


def test_one_that_has_ended_is_refused() -> None:
    with pytest.raises(ProcessLookupError):
        recording(4_194_304, GETPPID)


def test_one_that_makes_children_all_the_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the threads are is looked at before and after; here they never are the same."""
    found = iter(range(1, 1_000_000))
    with gated(os.getppid) as (pid, _):
        monkeypatch.setattr(perf_recording, "_tids", lambda of: [of, *([] if next(found) % 2 else [1])])
        points()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(Restless):
            recording(pid, GETPPID)
        assert len(os.listdir("/proc/self/fd")) == before


def test_more_events_than_there_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_recording, "MOST_EVENTS", 7)
    with gated(os.getppid) as (pid, _), pytest.raises(OSError, match="Too many open files"):
        recording(pid, GETPPID)


def test_nothing_is_left_of_it() -> None:
    points()
    before = len(os.listdir("/proc/self/fd"))
    with recorded(os.getppid, GETPPID) as (made, _):
        rest(made)
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_ends_however_much_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much is told that more has always come by the time that it is looked at."""
    monkeypatch.setattr(perf_recording, "_AT_ONCE", 1)

    def act() -> None:
        while True:
            os.getppid()

    with gated(act) as (pid, go):
        made = recording(pid, GETPPID)
        made.start()
        go()
        ring = Ring(made.shared.ring, made.shared.counters, RING, twice=False)
        until(lambda: ring.waiting > 0, "something to be told")
        ring.close()
        made.finish()
        poll = select.poll()
        poll.register(made, select.POLLIN)
        assert poll.poll(60_000), "it goes on"
        made.close()
