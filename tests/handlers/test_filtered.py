from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from tests.children import isolated, libc, needs_root, own_program
from tests.kernel.by_hand import Hand, by_hand
from tests.kernel.targets import Side, Target, make_calls, target
from tests.live.machine import free, state, status, threads, tracer, until
from utraced.api import daemon, engine, events, trace
from utraced.errors import InvalidParams, LimitExceeded, Unsupported
from utraced.handlers import filtered

SETTINGS: dict[str, Any] = {"backend": "seccomp", "follow": True, "from_exec": True}
EXECUTE = "import os; os.getppid(); os.close(os.open('/dev/null', os.O_RDONLY)); os.read(0, 1); os.getppid()"
"""What a traced program does: two parts, the second after another word."""


def execute(side: Side) -> None:
    os.getppid()
    side.say(b"goes")
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", EXECUTE])


def start(hand: Hand, found: Target, *calls: str, **options: Any) -> trace.Started:
    return hand.call(trace.Start(pid=found.pid, syscalls=calls or None, **{**SETTINGS, **options}))


@contextmanager
def started(*calls: str, **options: Any) -> Iterator[tuple[Hand, Target, trace.Started]]:
    """Give a program that is traced, and at its wait."""
    with target(execute) as found, by_hand() as hand:
        answer = start(hand, found, *calls, **options)
        found.go()
        hand.until(lambda: len(calls_told(hand, "getppid")) == 1 or not calls)
        yield hand, found, answer


def calls_told(hand: Hand, *names: str) -> list[Any]:
    return [event for event in hand.told(events.Syscall) if not names or event.name in names]


def test_only_the_selected_calls_are_told_from_the_execve_on() -> None:
    with started("getppid") as (hand, found, answer):
        assert answer.backend == "seccomp"
        found.go()
        hand.ended(found.pid)
        assert [event.name for event in calls_told(hand)] == ["getppid", "getppid"]
        assert calls_told(hand)[0].result == os.getpid()
        assert hand.told(events.Detached)[0].reason == "target_exited"


def test_the_answer_says_what_it_costs() -> None:
    with started("getppid") as (_, found, answer):
        assert answer.reason is not None
        deprived = status(found.pid)["NoNewPrivs"] == "1"
        assert answer.reason.startswith("it was asked for; the filter cannot be removed: ")
        assert (filtered.DEPRIVED in answer.reason) == deprived == (os.geteuid() != 0)


def test_when_the_trace_has_ended_the_calls_still_work() -> None:
    with started("getppid") as (hand, found, answer):
        hand.call(trace.Stop(trace=answer.trace))
        assert tracer(found.pid) == os.getpid()
        found.go()
        hand.ended(found.pid)
        assert len(calls_told(hand)) == 1


def test_that_a_process_stays_bound_is_told_who_asks_about_it() -> None:
    """Also when the trace has ended."""
    with started("getppid") as (hand, found, answer):
        hand.call(trace.Stop(trace=answer.trace))

        async def ask() -> Any:
            return await hand.start(daemon.Check(pid=found.pid))

        checked = anyio.run(ask)
    [told] = [finding for finding in checked.process if finding.subject == "tracer"]
    assert (told.verdict, told.hint) == ("limited", "It and its children end when this daemon ends.")
    assert "seccomp filter" in told.text
    assert checked.conclusion.verdict == "works"


def test_when_the_session_has_ended_they_work_for_other_sessions() -> None:
    with started("getppid") as (hand, found, _):
        hand.session.close("session_closed", 0)
        other = hand.another(2)
        number = hand.call(engine.Attach(pid=found.pid, events=("death",)), session=other).engine
        hand.call(engine.Detach(engine=number), session=other)
        assert tracer(found.pid) == os.getpid()
        again = hand.call(trace.Start(pid=found.pid, syscalls=("getppid",), backend="ptrace"), session=other)
        found.go()
        hand.ended(found.pid)
        told = [event for event in hand.events(other) if isinstance(event, events.Syscall)]
        assert [(event.name, event.trace) for event in told] == [("getppid", again.trace)]


def test_beside_a_trace_with_ptrace_both_are_told_all_they_want() -> None:
    with started("getppid") as (hand, found, answer):
        other = hand.call(trace.Start(pid=found.pid, syscalls=("getppid", "exit_group"), backend="ptrace")).trace
        found.go()
        hand.ended(found.pid)
        names = {
            number: [event.name for event in calls_told(hand) if event.trace == number]
            for number in (answer.trace, other)
        }
        assert names == {answer.trace: ["getppid", "getppid"], other: ["getppid", "exit_group"]}


def test_a_process_can_have_two_filters() -> None:
    with target(execute) as found, by_hand() as hand:
        one = start(hand, found, "getppid").trace
        two = start(hand, found, "openat", path_prefix="/dev/null").trace
        found.go()
        hand.until(lambda: len(calls_told(hand, "getppid")) == 1)
        found.go()
        hand.ended(found.pid)
        told = [(event.trace, event.name) for event in calls_told(hand)]
        assert told == [(one, "getppid"), (two, "openat"), (one, "getppid")]


def test_stacks_are_those_of_the_call() -> None:
    with started("getppid", stacks=True) as (hand, found, _):
        found.go()
        hand.ended(found.pid)
        for event in calls_told(hand):
            assert event.stack
            assert event.stack[0] == event.pc


def test_all_calls_can_be_selected() -> None:
    with started() as (hand, found, _):
        found.go()
        hand.ended(found.pid)
        names = [event.name for event in calls_told(hand)]
        assert names[0] == "execve"
        assert names[-1] == "exit_group"
        assert names.count("getppid") == 2


@pytest.mark.parametrize(("options", "member"), [({"follow": False}, "follow"), ({"from_exec": False}, "from_exec")])
def test_what_a_filter_is_not_for_is_refused(options: dict[str, Any], member: str) -> None:
    with target() as found, by_hand() as hand:
        with pytest.raises(InvalidParams) as caught:
            start(hand, found, **options)
        assert caught.value.data["member"] == member
        assert free(found.pid)


def refused(hand: Hand, found: Target, text: str) -> None:
    """Check that a process gets no filter, and is as it was."""
    before = status(found.pid)
    with pytest.raises(Unsupported, match=text) as caught:
        start(hand, found)
    assert caught.value.data["feature"] == "backend.seccomp"
    hand.until(lambda: free(found.pid))
    now = status(found.pid)
    for line in ("Seccomp", "Seccomp_filters", "NoNewPrivs", "TracerPid"):
        assert now[line] == before[line]
    assert hand.session.traces == {}
    assert hand.kinds() == []


def test_a_process_with_more_threads_gets_no_filter() -> None:
    def act(side: Side) -> None:
        import threading

        threading.Thread(target=signal.pause, daemon=True).start()
        side.say(b"two")
        side.wait()

    with target(act) as found, by_hand() as hand:
        found.go()
        found.hear(b"two")
        until(lambda: len(threads(found.pid)) == 2, "two threads")
        refused(hand, found, "has 2 threads")


def filter_all_but(answer: int, *numbers: int) -> None:
    """Put the calling process under a filter that answers these calls so."""
    code = [struct.pack("<HBBI", 0x20, 0, 0, 0)]
    for number in numbers:
        code += [struct.pack("<HBBI", 0x15, 0, 1, number), struct.pack("<HBBI", 0x06, 0, 0, answer)]
    code.append(struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF_0000))
    kept = ctypes.create_string_buffer(b"".join(code))
    program = ctypes.create_string_buffer(struct.pack("<H6xQ", len(code), ctypes.addressof(kept)))
    libc().prctl(38, 1, 0, 0, 0)
    assert libc().prctl(22, 2, program, 0, 0) == 0


KILL, ERRNO_EPERM = 0x8000_0000, 0x0005_0001


def test_a_process_with_filters_of_its_own_is_not_asked_what_they_say() -> None:
    def act(side: Side) -> None:
        filter_all_but(KILL, 317, 157)
        side.say(b"filtered")
        side.wait()

    with target(act) as found, by_hand() as hand:
        found.go()
        found.hear(b"filtered")
        refused(hand, found, "seccomp filter already")
        found.go()


def test_a_process_in_strict_mode_gets_no_filter() -> None:
    def act(side: Side) -> None:
        side.say(b"strict")
        libc().prctl(22, 1, 0, 0, 0)
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    with target(act) as found, by_hand() as hand:
        found.go()
        until(lambda: status(found.pid).get("Seccomp") == "1", "strict mode")
        refused(hand, found, "seccomp filter already")


def test_what_the_kernel_answers_is_told_and_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(side: Side) -> None:
        filter_all_but(ERRNO_EPERM, 317)
        side.say(b"filtered")
        side.wait()
        os.getppid()
        side.say(b"well")

    monkeypatch.setattr(filtered, "_seccomp", lambda _: (0, 0))
    with target(act) as found, by_hand() as hand:
        found.go()
        found.hear(b"filtered")
        refused(hand, found, "seccomp fails with EPERM")
        found.go()
        found.hear(b"well")


def test_a_process_that_makes_no_call_gets_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(side: Side) -> None:
        side.say(b"busy")
        while True:
            pass

    monkeypatch.setattr(filtered, "CALM", 0.1)
    with target(act) as found, by_hand() as hand:
        found.go()
        found.hear(b"busy")
        refused(hand, found, "makes no system call")
        assert state(found.pid) == "R"


def test_more_numbers_than_a_filter_holds() -> None:
    with target() as found, by_hand() as hand:
        with pytest.raises(LimitExceeded) as caught:
            hand.call(trace.Start(pid=found.pid, syscalls=tuple(range(0, 6000, 2)), **SETTINGS))
        assert caught.value.data["limit"] == "filter"
        assert free(found.pid)


def test_a_kernel_without_filters_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtered, "ACTIONS", "/nowhere")
    with target() as found, by_hand() as hand:
        refused(hand, found, "does not say")
    monkeypatch.setattr(filtered, "ACTIONS", "/dev/null")
    with target() as found, by_hand() as hand:
        refused(hand, found, "has no seccomp filters")


def test_signals_that_come_while_it_is_put_in_are_handled_once() -> None:
    def act(side: Side) -> None:
        taken = []
        signal.signal(signal.SIGUSR1, lambda *_: taken.append(1))
        side.say(b"handles")
        side.wait()
        while len(taken) < 1:
            signal.pause()
        side.say(b"[%d]" % len(taken))

    with target(act) as found, by_hand() as hand:
        found.go()
        found.hear(b"handles")
        os.kill(found.pid, signal.SIGUSR1)
        start(hand, found, "getppid")
        found.go()
        hand.until(lambda: found.said(b"[1]"))


@needs_root
def test_an_ordinary_users_process_gains_no_privileges_any_more() -> None:
    def trace_one() -> tuple[str, str | None]:
        own_program()
        with target(make_calls(1)) as found, by_hand() as hand:
            answer = start(hand, found, "getppid")
            return status(found.pid)["NoNewPrivs"], answer.reason

    privileges, reason = isolated(trace_one)
    assert privileges == "1"
    assert filtered.DEPRIVED in (reason or "")
