"""From samples to records, and from those to what a client is told."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observing.test_recorded import Owner
from utraced.api import call_records as records
from utraced.api import events
from utraced.kernel import perf_samples as samples
from utraced.kernel.perf_samples import Item
from utraced.kernel.perf_translation import Settings, Translator, Wanted
from utraced.observing.recorded import Recorded
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace

READ, CLOSE, CLONE, FORK, VFORK, EXECVE, EXIT, EXIT_GROUP, GETPPID, PRCTL = 0, 3, 56, 57, 58, 59, 60, 231, 110, 157
CLONE3, SETUID = 435, 105
PID = 10
ALL = Wanted(range(500), range(500), others=True)
OWNER = 1000, 1000
MUCH = 1 << 20


class Ends:
    """How processes have ended, by hand."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}

    def status(self, pid: int) -> int | None:
        return self.known.get(pid)


class Told(NamedTuple):
    """A record, in short."""

    what: int
    tid: int
    nr: int
    numbers: tuple[int, ...]


_PARTS = {
    records.EXIT: records.RETURNED,
    records.CLONE: records.CLONED,
    records.EXEC: records.EXECED,
    records.DEATH: records.DIED,
    records.SIGNAL: records.SIGNALLED,
}


class Played:
    """A trace of process 10, with these threads, given samples one by one."""

    def __init__(self, *, tids: tuple[int, ...] = (PID,), wanted: Wanted = ALL, **settings: object) -> None:
        self.ends = Ends()
        self.translator = Translator(PID, tids, Settings(wanted, **settings), self.ends, abi=0)  # type: ignore[arg-type]
        self._times = count(100, 10)
        self.data = b""

    def take(self, *items: Item, room: int = MUCH) -> list[Told]:
        data = self.translator.translate(items, room)
        self.data += data
        return [
            Told(
                head.what,
                head.tid,
                head.nr,
                records.part(_PARTS[head.what], data, head) if head.what in _PARTS else (),
            )
            for head in records.heads(data)
        ]

    def item(self, kind: int, *rest: object, tid: int = PID, pid: int = PID) -> Item:
        return (pid, tid, next(self._times), kind, *rest)

    def enter(self, nr: int, *args: int, kind: int = samples.ENTER, wide: int = 2, **who: int) -> Item:
        given = (*args, *[0] * (6 - len(args)))
        si, di, r10 = (given[1], given[0], given[3]) if wide == 2 else (91, 92, 93)
        return self.item(kind, nr, *given, wide, si, di, 0x7FFF0000, 0x400000, r10, **who)

    def beside(self, nr: int, *args: int, **who: int) -> Item:
        return self.enter(nr, *args, kind=samples.SIDE_ENTER, **who)

    def leave(self, nr: int, result: int = 0, **who: int) -> Item:
        return self.item(samples.EXIT, nr, result, **who)

    def fork(self, child: int, thread: int | None = None, **who: int) -> Item:
        return self.item(samples.FORK, child, child if thread is None else thread, **who)

    def end(self, **who: int) -> Item:
        return self.item(samples.ENDED, **who)


def test_a_call_is_an_entry_and_an_exit() -> None:
    play = Played()
    told = play.take(play.enter(CLOSE, 3), play.leave(CLOSE, -9))
    assert told == [Told(records.ENTRY, PID, CLOSE, ()), Told(records.EXIT, PID, CLOSE, (-9,))]
    first = next(records.heads(play.data))
    assert records.part(records.ENTERED, play.data, first) == (3, 0, 0, 0, 0, 0, 0x400000, 0x7FFF0000)
    assert (first.time_ns, first.pid, first.abi) == (100, PID, 0)


def test_only_wanted_calls_are() -> None:
    play = Played(wanted=Wanted({CLOSE}, {6}, others=False))
    assert play.take(play.enter(READ), play.leave(READ), play.enter(9999), play.leave(9999)) == []
    assert len(play.take(play.enter(CLOSE), play.leave(CLOSE))) == 2
    assert play.take(play.enter(CLOSE, wide=1), play.leave(CLOSE)) == []
    assert len(play.take(play.enter(6, wide=1), play.leave(6))) == 2


@pytest.mark.parametrize(("nr", "wide", "abi"), [(3, 2, 0), (3, 1, 1), (3, 0, 1), (3 | 1 << 30, 2, 2), (-1, 2, 0)])
def test_of_which_abi_a_call_is(nr: int, wide: int, abi: int) -> None:
    play = Played()
    play.take(play.enter(nr, 1, wide=wide))
    assert next(records.heads(play.data)).abi == abi


def test_a_64_bit_program_that_calls_as_one_of_32_bits_does_is_found_out() -> None:
    play = Played()
    play.take(play.item(samples.ENTER, 3, 1, 2, 3, 4, 5, 6, 2, 50, 51, 52, 53, 54))
    assert next(records.heads(play.data)).abi == 1


def test_the_return_of_a_call_that_was_entered_before_is_told() -> None:
    play = Played(wanted=Wanted({READ}, (), others=False))
    assert play.take(play.leave(READ, 5), play.leave(READ, 5)) == [Told(records.EXIT, PID, READ, (5,))]
    play = Played(wanted=Wanted({READ}, (), others=False))
    assert play.take(play.leave(CLOSE, 5)) == []


def test_a_new_threads_return_from_its_birth_is_not() -> None:
    play = Played()
    told = play.take(play.beside(CLONE, 0x10F00), play.fork(PID, 11), play.leave(CLONE, 0, tid=11))
    assert play.translator.counts.dropped == 0
    assert told == [Told(records.CLONE, PID, CLONE, (PID, 11, 0x10F00))]


def test_failed_calls_alone() -> None:
    play = Played(failed_only=True)
    assert play.take(play.enter(CLOSE), play.leave(CLOSE), play.enter(CLOSE), play.leave(CLOSE, -4095)) == [
        Told(records.ENTRY, PID, CLOSE, ()),
        Told(records.EXIT, PID, CLOSE, (-4095,)),
    ]
    assert len(play.take(play.enter(6, wide=1), play.leave(6, (1 << 32) - 9))) == 2


def test_what_finds_no_room_is_counted_and_never_paired_wrongly() -> None:
    play = Played()
    call = play.enter(CLOSE), play.leave(CLOSE)
    size = len(play.translator.translate(call, MUCH))
    assert play.take(*call, room=size - 8) == [Told(records.ENTRY, PID, CLOSE, ())]
    assert play.take(*call, room=60) == []
    counts = play.translator.counts
    assert (counts.entries, counts.exits, counts.dropped) == (1, 2, 3)
    play.take(*call)
    assert [head.dropped for head in records.heads(play.data)][-2:] == [3, 3]


def test_a_return_after_a_loss_may_be_of_another_call() -> None:
    play = Played()
    assert len(play.take(play.enter(CLOSE), play.item(samples.LOST), play.leave(CLOSE, 7))) == 1
    assert play.translator.counts.exits == 1
    assert len(play.take(play.enter(CLOSE), play.leave(CLOSE))) == 2


def test_a_child_is_followed_where_that_is_asked_for() -> None:
    play = Played(follow=True)
    told = play.take(play.beside(VFORK), play.fork(20), play.enter(CLOSE, pid=20, tid=20))
    assert [one[:3] for one in told] == [(records.CLONE, PID, VFORK), (records.ENTRY, 20, CLOSE)]
    assert play.translator.counts.processes == 1
    assert play.translator.told == [PID, 20]
    play = Played()
    assert [one.what for one in play.take(play.fork(20), play.enter(CLOSE, pid=20, tid=20))] == [records.CLONE]


def test_the_end_of_the_last_thread_is_the_end_of_the_process() -> None:
    play = Played(tids=(PID, 11))
    told = play.take(play.beside(EXIT, 3), play.end(), play.beside(EXIT, 4, tid=11), play.end(tid=11))
    assert told == [Told(records.DEATH, PID, 0, (3 << 8, 0)), Told(records.DEATH, 11, 0, (4 << 8, 1))]
    assert play.translator.over


def test_exit_group_is_of_all_threads() -> None:
    play = Played(tids=(PID, 11))
    told = play.take(play.beside(EXIT_GROUP, 0x103, tid=11), play.beside(EXIT_GROUP, 9), play.end(), play.end(tid=11))
    assert [one.numbers for one in told] == [(3 << 8, 0), (3 << 8, 1)]


@pytest.mark.parametrize(("known", "told"), [({PID: 15}, 15), ({}, records.UNKNOWN_STATUS)])
def test_what_else_has_ended_a_process_is_found_out_or_not(known: dict[int, int], told: int) -> None:
    play = Played()
    play.ends.known = known
    assert play.take(play.item(samples.DELIVER, 9, 0, 0, 0), play.end()) == [Told(records.DEATH, PID, 0, (told, 1))]


def test_a_signal_that_dumps_core_ends_with_itself() -> None:
    play = Played()
    told = play.take(play.item(samples.DELIVER, 11, 0, 1, 0), play.end())
    assert told == [Told(records.SIGNAL, PID, 11, (11, 0, 1)), Told(records.DEATH, PID, 0, (11, 1))]
    play = Played()
    assert play.take(play.item(samples.DELIVER, 11, 0, 1, 0x5000), play.end())[1].numbers == (records.UNKNOWN_STATUS, 1)


def test_an_execution_by_another_thread_takes_the_leaders_number() -> None:
    play = Played(tids=(PID, 11))
    told = play.take(
        play.enter(EXECVE, tid=11),
        play.end(),
        play.item(samples.RENAMED),
        play.item(samples.EXECED, b"/bin/a", 11),
        play.leave(EXECVE),
        play.beside(EXIT_GROUP, 0),
        play.end(),
    )
    assert [(one.what, one.tid) for one in told] == [
        (records.ENTRY, 11),
        (records.DEATH, PID),
        (records.EXEC, PID),
        (records.EXIT, PID),
        (records.DEATH, PID),
    ]
    assert told[-1].numbers == (0, 1)


def test_a_program_with_privileges_falls_silent() -> None:
    play = Played(follow=True, owner=OWNER)
    play.take(play.beside(FORK), play.fork(20))
    told = play.take(play.item(samples.RENAMED, pid=20, tid=20), play.end(pid=20, tid=20))
    assert told == [Told(records.DETACHED, 20, 0, ())]
    assert not play.translator.counts.silenced
    assert play.take(play.item(samples.RENAMED), play.end(), play.enter(CLOSE)) == [Told(records.DETACHED, PID, 0, ())]
    assert play.translator.counts.silenced
    assert play.translator.over


def test_a_process_falls_silent_with_those_that_share_its_memory() -> None:
    play = Played(follow=True, owner=OWNER)
    play.take(
        play.beside(VFORK), play.fork(20),
        play.beside(FORK), play.fork(21),
        play.beside(CLONE, 0x100), play.fork(22),
        play.beside(CLONE, 0x11), play.fork(23),
        play.beside(CLONE3), play.fork(24),
    )  # fmt: skip
    play.take(play.item(samples.RENAMED, pid=22, tid=22), play.item(samples.EXECED, b"/bin/a", 22, pid=22, tid=22))
    told = play.take(
        play.beside(PRCTL, 4, 0, pid=20, tid=20), *[play.enter(CLOSE, pid=pid, tid=pid) for pid in range(10, 25)]
    )
    assert {one.tid for one in told if one.what == records.DETACHED} == {PID, 20, 24}
    assert {one.tid for one in told if one.what == records.ENTRY} == {21, 22, 23}


def test_of_a_user_children_are_seen_that_are_not_followed() -> None:
    play = Played(owner=OWNER)
    assert [one.what for one in play.take(play.beside(VFORK), play.fork(20))] == [records.CLONE]
    assert play.take(play.beside(VFORK, pid=20, tid=20), play.fork(30, pid=20, tid=20)) == []
    assert play.translator.counts.processes == 0
    assert play.take(play.beside(PRCTL, 4, 0, pid=30, tid=30)) == [Told(records.DETACHED, PID, 0, ())]
    assert play.translator.over


def test_a_child_that_may_be_in_another_namespace_changes_no_user() -> None:
    play = Played(follow=True, owner=OWNER)
    play.take(play.beside(CLONE3), play.fork(20), play.beside(FORK), play.fork(21))
    assert play.take(play.beside(SETUID, 1000, pid=21, tid=21)) == []
    assert Told(records.DETACHED, 20, 0, ()) in play.take(play.beside(SETUID, 1000, pid=20, tid=20))


def test_nobody_is_told_of_when_it_is_not_known_what_they_are() -> None:
    play = Played(follow=True, owner=OWNER)
    play.take(play.beside(FORK), play.fork(20))
    told = play.take(play.item(samples.LOST_BESIDE), play.enter(CLOSE), play.enter(CLOSE, pid=20, tid=20))
    assert sorted(one.tid for one in told) == [PID, 20]
    assert {one.what for one in told} == {records.DETACHED}
    assert play.translator.counts.silenced


def test_one_may_fall_silent_alone() -> None:
    play = Played(follow=True, owner=OWNER)
    play.take(play.beside(FORK), play.fork(20))
    play.translator.silence(500, 20)
    assert [one[:2] for one in play.take(play.enter(CLOSE))] == [(records.DETACHED, 20), (records.ENTRY, PID)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["call", "enter", "leave", "lose", "side"]), st.sampled_from([PID, 11]), st.booleans()
        ),
        max_size=40,
    )
)
def test_what_is_told_and_what_is_lost_are_all_calls(steps: list[tuple[str, int, bool]]) -> None:
    """As ``Recorded`` counts them, whatever has found no room, in the kernel or with us."""
    play = Played(tids=(PID, 11))
    owner = Owner()
    trace = Trace(owner, Selection(("all",)))
    recorded = Recorded(trace, PID, owner.tell)
    inside: dict[int, bool] = {}
    made = 0
    for what, tid, fits in steps:
        items: list[Item] = []
        room = MUCH if fits else 0
        if what in {"call", "enter"} and not inside.get(tid):
            made += 1
            items.append(play.enter(CLOSE, tid=tid))
            inside[tid] = True
        if what in {"call", "leave"} and inside.get(tid):
            items.append(play.leave(CLOSE, tid=tid))
            inside[tid] = False
        if what == "lose":  # an entry and its return, or a return alone, that the kernel had no room for
            if not inside.get(tid):
                made += 1
                play.translator.counts.entries += 1
            play.translator.counts.exits += 1
            inside[tid] = False
            items.append(play.item(samples.LOST))
        recorded.take(play.translator.translate(items, room), lambda: play.translator.counts.entries)
    recorded.count_dropped(play.translator.counts.entries)
    recorded.end("client_request", 0)
    calls = [event for event in owner.told if isinstance(event, events.Syscall)]
    assert len(calls) + trace.dropped == made
