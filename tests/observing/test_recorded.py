"""From the kernel's records to events: the same that ptrace's stops would have made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_call_records import fragment, stacked
from utraced.api import call_records as records
from utraced.api import events
from utraced.api.events import Event
from utraced.model import Status
from utraced.observing.recorded import Recorded
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace
from utraced.syscalls.abi import AUDIT_ARCH_X86_64
from utraced.syscalls.memory import NOTHING
from utraced.tracing.stops import SyscallStop

CLOSE, OPENAT, READ, EXECVE, EXIT_GROUP, CLONE, VFORK = 3, 257, 0, 59, 231, 56, 58
PID = 10


class Owner:
    """Whom a trace tells; ``told`` are its events."""

    session = 1

    def __init__(self) -> None:
        self.told: list[Event] = []

    def tell(self, event: Event) -> None:
        self.told.append(event)

    def engine_id(self, engine: object) -> int:
        raise AssertionError(engine)

    def retire(self, engine: object) -> None:
        raise AssertionError(engine)

    def congested(self) -> bool:
        return False


class Told:
    """A trace of process 10, and what it told; records are given by their parts."""

    def __init__(self, words: tuple[str, ...] = ("all",), **settings: object) -> None:
        self.owner = Owner()
        self.trace = Trace(self.owner, Selection(words), **settings)  # type: ignore[arg-type]
        self.trace.id = 7
        self.trace.processes = 1
        self.recorded = Recorded(self.trace, PID, self.owner.tell)
        self.time = 100
        self.dropped_entries = 0

    def take(
        self, what: int, own: bytes, *fragments: bytes, pid: int = PID, tid: int = PID, nr: int = 0, dropped: int = 0
    ) -> list[Event]:
        self.time += 10
        body = own + b"".join(fragments)
        head = records.HEAD.pack(records.HEAD.size - 8 + len(body), self.time, pid, tid, what, 0, nr, dropped)
        before = len(self.owner.told)
        self.recorded.take(head + body, lambda: self.dropped_entries)
        return self.owner.told[before:]

    def enter(self, nr: int, *args: int, memory: tuple[bytes, ...] = (), tid: int = PID, **options: int) -> list[Event]:
        own = records.ENTERED.pack(*args, *[0] * (6 - len(args)), 0x400000, 0x7FFF0000)
        return self.take(records.ENTRY, own, *memory, nr=nr, tid=tid, **options)

    def leave(
        self, nr: int, result: int, *, memory: tuple[bytes, ...] = (), tid: int = PID, **options: int
    ) -> list[Event]:
        return self.take(records.EXIT, records.RETURNED.pack(result), *memory, nr=nr, tid=tid, **options)

    def die(self, status: int, *, last: bool = True, tid: int = PID, pid: int = PID) -> list[Event]:
        return self.take(records.DEATH, records.DIED.pack(status, last), tid=tid, pid=pid)


def kinds(told: list[Event]) -> list[str]:
    return [type(event).__name__ for event in told]


def test_a_call_is_told_with_its_stack_where_that_is_asked_for() -> None:
    memory = (stacked(0x401000, 0xFFFF_FFFF_0000, 0),)
    told = Told(stacks=True, entries=True)
    told.enter(CLOSE, 5, memory=memory)
    (entry,) = told.trace.overtaken()
    (event,) = told.leave(CLOSE, -9)
    assert isinstance(event, events.Syscall)
    assert entry.stack == event.stack == ("0x401000", "0xffffffff0000")
    told.enter(CLOSE, 5)
    (without,) = told.leave(CLOSE, 0)
    unasked = Told()
    unasked.enter(CLOSE, 5, memory=memory)
    (other,) = unasked.leave(CLOSE, 0)
    for one in (without, other):
        assert isinstance(one, events.Syscall)
        assert one.stack is None


def test_a_call_is_told_when_it_returns() -> None:
    told = Told()
    assert told.enter(CLOSE, 5) == []
    (event,) = told.leave(CLOSE, -9)
    assert isinstance(event, events.Syscall)
    assert (event.name, event.result, event.errno, event.args[0]) == ("close", -9, "EBADF", "0x5")
    assert (event.start_ns, event.duration_ns, event.trace, event.pid, event.tid) == (110, 10, 7, PID, PID)
    assert (event.pc, event.sp) == ("0x400000", "0x7fff0000")


def test_what_was_copied_is_told_as_if_it_had_been_read() -> None:
    told = Told()
    told.enter(OPENAT, 0xFFFFFF9C, 0x1000, memory=(fragment(0x1000, b"/etc", records.ENDED),))
    (event,) = told.leave(OPENAT, 3)
    assert event.strings["1"] == events.Text("/etc", None, False)  # type: ignore[attr-defined]
    told.enter(READ, 3, 0x2000, 100)
    (event,) = told.leave(READ, 3, memory=(fragment(0x2000, b"abc"),))
    assert event.strings["1"].text == "abc"  # type: ignore[attr-defined]


def test_what_came_late_belongs_to_the_entry() -> None:
    told = Told()
    told.enter(OPENAT, 0xFFFFFF9C, 0x1000)
    (event,) = told.leave(OPENAT, 3, memory=(fragment(0x1000, b"/etc", records.ENDED | records.AT_ENTRY),))
    assert event.strings["1"].text == "/etc"  # type: ignore[attr-defined]


def test_a_call_that_never_returns_is_told_with_the_end() -> None:
    told = Told()
    told.enter(EXIT_GROUP, 7)
    call, death = told.die(7 << 8)
    assert isinstance(call, events.Syscall)
    assert call.unfinished
    assert isinstance(death, events.Death)
    assert (death.status, death.last) == (Status(code=7), True)
    assert not told.recorded.alive


def test_the_end_of_a_trace_is_told_once() -> None:
    told = Told()
    told.enter(CLOSE, 1)
    told.recorded.end("client_request", 500)
    told.recorded.end("client_request", 600)
    assert kinds(told.owner.told) == ["Syscall", "Detached"]
    assert told.recorded.ended


def test_the_return_of_a_call_that_nobody_saw_entered_is_passed_over() -> None:
    assert Told().leave(CLOSE, 0) == []


def test_a_call_that_was_entered_before_is_told_too() -> None:
    told = Told()
    told.recorded.presume(SyscallStop(PID, 50, 0, True, AUDIT_ARCH_X86_64, 0, READ, (3, 0, 0, 0, 0, 0)), NOTHING)
    (event,) = told.leave(READ, 0)
    assert (event.name, event.start_ns) == ("read", 50)  # type: ignore[attr-defined]


def test_a_presumption_that_was_wrong_is_forgotten_and_not_lost() -> None:
    told = Told()
    for _ in range(2):
        told.recorded.presume(SyscallStop(PID, 50, 0, True, AUDIT_ARCH_X86_64, 0, READ, (3, 0, 0, 0, 0, 0)), NOTHING)
        assert told.leave(CLOSE, 0) == []
    told.recorded.presume(SyscallStop(PID, 50, 0, True, AUDIT_ARCH_X86_64, 0, READ, (3, 0, 0, 0, 0, 0)), NOTHING)
    told.enter(CLOSE, 1)
    assert kinds(told.leave(CLOSE, 0)) == ["Syscall"]
    assert told.trace.dropped == 0


def test_a_lost_entry_is_counted_where_it_is_missing() -> None:
    told = Told()
    told.dropped_entries = 2
    told.enter(CLOSE, 1, dropped=2)
    assert told.trace.dropped == 2
    told.leave(CLOSE, 0, dropped=2)
    assert told.trace.dropped == 2


def test_a_lost_return_is_counted_with_the_next_call() -> None:
    told = Told()
    told.enter(CLOSE, 1)
    told.enter(CLOSE, 2, dropped=1)
    assert told.trace.dropped == 1
    (event,) = told.leave(CLOSE, 0, dropped=1)
    assert event.args[0] == "0x2"  # type: ignore[attr-defined]


def test_only_failed_calls() -> None:
    told = Told(failed_only=True)
    told.enter(CLOSE, 1)
    assert told.leave(CLOSE, 0) == []
    told.enter(CLOSE, 1)
    assert len(told.leave(CLOSE, -9)) == 1


def test_nothing_is_told_before_the_execve() -> None:
    told = Told(from_exec=True)
    told.enter(READ, 3)
    assert told.leave(READ, 1) == []
    told.enter(EXECVE, 0x1000)
    exec_told = told.take(records.EXEC, records.EXECED.pack(PID), fragment(0, b"/bin/true", records.ENDED))
    assert [(type(event), event.path) for event in exec_told] == [(events.Exec, "/bin/true")]  # type: ignore[attr-defined]
    (event,) = told.leave(EXECVE, 0)
    assert event.name == "execve"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("nr", "flags", "how"), [(CLONE, 0x11, "fork"), (CLONE, 0x4111, "vfork"), (VFORK, 0, "vfork")])
def test_a_child_is_told_and_followed(nr: int, flags: int, how: str) -> None:
    told = Told(follow=True)
    (clone,) = told.take(records.CLONE, records.CLONED.pack(20, 20, flags), nr=nr)
    assert (clone.how, clone.child_pid) == (how, 20)  # type: ignore[attr-defined]
    told.enter(CLOSE, 1, tid=20, pid=20)
    assert len(told.leave(CLOSE, 0, tid=20, pid=20)) == 1
    told.die(0)
    assert told.recorded.alive
    told.die(0, tid=20, pid=20)
    assert not told.recorded.alive


def test_a_thread_is_no_process() -> None:
    told = Told(follow=True)
    (clone,) = told.take(records.CLONE, records.CLONED.pack(PID, 11, 0x10F00), nr=CLONE)
    assert clone.how == "thread"  # type: ignore[attr-defined]
    told.die(0, last=False, tid=11)
    assert told.recorded.alive


def test_a_leader_is_told_to_be_gone_with_the_last_of_its_threads() -> None:
    told = Told()
    assert told.die(5 << 8, last=False) == []
    first, second = told.die(0, tid=11)
    assert [(event.tid, event.last) for event in (first, second)] == [(11, False), (PID, True)]  # type: ignore[attr-defined]
    assert told.recorded.status == Status(code=5)


def test_a_thread_that_executes_a_program_takes_the_leaders_place() -> None:
    told = Told()
    told.enter(READ, 0)
    told.enter(EXECVE, 0x1000, tid=11)
    assert told.die(0, last=False) == []
    superseded = told.take(records.EXEC, records.EXECED.pack(11), fragment(0, b"/x", records.ENDED))
    assert kinds(superseded) == ["Syscall", "Death", "Exec"]
    assert superseded[1].successor_tid == 11  # type: ignore[attr-defined]
    (event,) = told.leave(EXECVE, 0)
    assert (event.name, event.tid) == ("execve", PID)  # type: ignore[attr-defined]


def siginfo(number: int, code: int = 0) -> bytes:
    return number.to_bytes(4, "little") + bytes(4) + code.to_bytes(4, "little") + bytes(36)


def test_a_signal_is_told_with_its_siginfo() -> None:
    told = Told()
    (event,) = told.take(records.SIGNAL, siginfo(10), nr=10)
    assert isinstance(event, events.Signal)
    assert (event.signal, event.code, len(event.info or b"")) == ("SIGUSR1", "SI_USER", 128)


def test_a_signal_that_is_ignored_is_told_after_the_call_that_it_came_in() -> None:
    told = Told()
    told.enter(CLOSE, 1)
    assert told.take(records.IGNORED, siginfo(28), nr=28) == []
    assert kinds(told.leave(CLOSE, 0)) == ["Syscall", "Signal"]
    assert kinds(told.take(records.IGNORED, siginfo(28), nr=28)) == ["Signal"]


def test_a_signal_that_ends_the_process_is_told_before_its_end() -> None:
    told = Told()
    assert told.take(records.SENT, siginfo(15), nr=15) == []
    assert kinds(told.die(15)) == ["Signal", "Death"]


@pytest.mark.parametrize("number", [9, 10])
def test_a_signal_that_was_sent_is_not_told_where_something_else_ended_it(number: int) -> None:
    told = Told()
    told.take(records.SENT, siginfo(number), nr=number)
    assert kinds(told.die(9)) == ["Death"]


def test_a_core_dump_is_told() -> None:
    (death,) = Told().die(11 | 0x80)
    assert death.status == Status(signal="SIGSEGV", core_dumped=True)  # type: ignore[attr-defined]


def test_a_process_that_stops_qualifying_is_told() -> None:
    told = Told(follow=True)
    told.take(records.CLONE, records.CLONED.pack(20, 20, 17), nr=CLONE)
    told.enter(CLOSE, 1, pid=20, tid=20)
    call, detached = told.take(records.DETACHED, b"", pid=20, tid=20)
    assert isinstance(call, events.Syscall)
    assert isinstance(detached, events.Detached)
    assert (detached.reason, detached.pid, told.recorded.ended) == ("policy", 20, False)
    told.take(records.DETACHED, b"")
    assert told.recorded.ended


def test_an_entry_that_lasts_is_told_first() -> None:
    told = Told(entries=True)
    told.enter(READ, 0)
    told.recorded.overdue(50)
    assert told.owner.told == []
    told.recorded.overdue(1000)
    assert kinds(told.owner.told) == ["SyscallEntry"]


def test_an_entry_that_is_overtaken_is_told_first() -> None:
    told = Told(entries=True)
    told.enter(READ, 0)
    assert kinds(told.take(records.SIGNAL, siginfo(10), nr=10)) == ["SyscallEntry", "Signal"]


def test_a_call_without_a_number_is_shown_as_ptrace_shows_it() -> None:
    told = Told()
    told.enter(0xFFFFFFFF)
    (event,) = told.leave(0xFFFFFFFF, -38)
    assert event.name == "syscall_0xffffffffffffffff"  # type: ignore[attr-defined]


@given(st.binary(max_size=200), st.integers(0, 12))
def test_no_record_is_more_than_bad(body: bytes, what: int) -> None:
    told = Told(follow=True, entries=True)
    told.enter(READ, 0)
    try:
        told.take(what, body)
    except records.BadRecord:
        return


def test_a_signal_of_which_only_the_code_is_known() -> None:
    told = Told()
    (event,) = told.take(records.SIGNAL, records.SIGNALLED.pack(10, 0, -6), nr=10)
    assert event == events.Signal(signal="SIGUSR1", code="SI_TKILL", pid=PID, tid=PID, trace=7, time_ns=event.time_ns)


def test_an_end_of_which_nothing_is_known() -> None:
    told = Told()
    (event,) = told.die(records.UNKNOWN_STATUS)
    assert isinstance(event, events.Death)
    assert (event.status, event.last) == (None, True)


def test_a_leader_of_which_it_is_not_known_ends_as_the_last_of_its_threads() -> None:
    told = Told()
    assert told.die(records.UNKNOWN_STATUS, last=False) == []
    deaths = told.die(9, tid=11)
    assert [event.status for event in deaths if isinstance(event, events.Death)] == [
        Status(signal="SIGKILL", core_dumped=False)
    ] * 2
