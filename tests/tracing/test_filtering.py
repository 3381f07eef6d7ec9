"""How a filter comes into a process, and what a process that has one is to the core."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tracing.playbook import (
    PC,
    SP,
    Playbook,
    cloned,
    dead,
    entering,
    execed,
    filtered,
    forked,
    interrupted,
    killed,
    leaving,
    signalled,
    stepped,
)
from utraced.syscalls.abi import AUDIT_ARCH_I386
from utraced.tracing import filtering, lifecycle
from utraced.tracing.actions import Wish
from utraced.tracing.filtering import Installation
from utraced.tracing.orphans import Origin

PROGRAM = b"\x06\0\0\0\0\0\xff\x7f" * 3
EACCES, EINVAL = 13, 22
STACK = bytes(range(256)) * 4
PLACE = SP - 128 - 40 & ~15
"""Where 16 bytes of struct sock_fprog and 24 of instructions are put below the red zone."""
READ, SECCOMP, PRCTL = 0, 317, 157
OWN = f"make 10 x86_64 {READ} {PC:#x} 3 4 5 0 0 0"
TAKEN = f"call 10 x86_64 {SECCOMP} 1 0 {PLACE}"
AGAIN = f"make 10 x86_64 {SECCOMP} {PC:#x} 1 0 {PLACE}"
DEPRIVE = f"make 10 x86_64 {PRCTL} {PC:#x} 38 1 0 0 0"


def own_call() -> Any:
    return entering(10, "read", 3, 4, 5)


def asked(play: Playbook, **settings: Any) -> Installation:
    """Have a process that is traced from its execve on be given a filter at its next call."""
    play.seize(10)
    play.trace("A", 10, ("getpid",), filtered=True, follow=True, from_exec=True, **settings)
    play << interrupted(10)
    play.targets[10].contents[SP - 1024] = STACK
    return filtering.install(play.core.processes[10], PROGRAM)


def bound(play: Playbook, **settings: Any) -> Installation:
    """Have one that has a filter, and has begun."""
    installation = asked(play, **settings)
    play << own_call()
    play << leaving(10, 0)
    play << own_call()
    play << leaving(10, 1)
    play << entering(10, "execve")
    play << execed(10)
    play << leaving(10, 0)
    play.done()
    play.events.clear()
    return installation


def memory(play: Playbook) -> bytes:
    return play.targets[10].contents[SP - 1024]


def test_it_is_put_in_at_the_next_call_which_is_made_anew(play: Playbook) -> None:
    installation = asked(play)
    assert play << own_call() == ["options 10 no exits bound", TAKEN, "restart 10 syscall"]
    at = PLACE - (SP - 1024)
    written = memory(play)[at : at + 40]
    assert written == (3).to_bytes(8, "little") + (PLACE + 16).to_bytes(8, "little") + PROGRAM
    assert play << leaving(10, 0) == [OWN, "complete", "restart 10 syscall"]
    assert memory(play) == STACK
    assert (installation.failure, installation.deprived) == (None, False)
    assert play.core.bound()
    assert play << own_call() == ["restart 10 syscall"]  # until the execve all calls stop


def test_where_the_kernel_wants_it_no_privileges_are_to_be_gained(play: Playbook) -> None:
    installation = asked(play)
    play << own_call()
    assert play << leaving(10, -EACCES) == [DEPRIVE, "restart 10 syscall"]
    assert play << entering(10, "prctl", 38, 1) == ["restart 10 syscall"]
    assert play << leaving(10, 0) == [AGAIN, "restart 10 syscall"]
    assert play << entering(10, "seccomp", 1, 0, PLACE) == ["restart 10 syscall"]
    assert play << leaving(10, 0) == [OWN, "complete", "restart 10 syscall"]
    assert (installation.failure, installation.deprived) == (None, True)
    assert memory(play) == STACK


@pytest.mark.parametrize(
    ("results", "failure"),
    [
        ((-EINVAL,), "seccomp fails with EINVAL in process 10"),
        ((-EACCES, -1), "prctl fails with EPERM in process 10"),
        ((-EACCES, 0, -EACCES), "seccomp fails with EACCES in process 10"),
        ((-EACCES, 0, -12), "seccomp fails with ENOMEM in process 10"),
    ],
)
def test_what_fails_leaves_all_as_it_was(play: Playbook, results: tuple[int, ...], failure: str) -> None:
    installation = asked(play)
    play << own_call()
    for result in results[:-1]:
        play << leaving(10, result)
        play << entering(10, "prctl")
    assert play << leaving(10, results[-1]) == [OWN, "options 10 no exits", "complete", "restart 10 syscall"]
    assert installation.failure == failure
    assert memory(play) == STACK
    assert not play.core.bound()


@pytest.mark.parametrize("stop", [interrupted(10), signalled(10, 10)], ids=["interrupt", "signal"])
def test_what_comes_between_puts_all_back_until_the_next_call(play: Playbook, stop: Any) -> None:
    asked(play)
    play << own_call()
    play << leaving(10, -EACCES)
    assert (play << stop)[:2] == [OWN, "options 10 no exits"]
    assert memory(play) == STACK
    assert play << own_call() == ["options 10 no exits bound", TAKEN, "restart 10 syscall"]


def test_other_engines_are_told_of_the_threads_own_call_once(play: Playbook) -> None:
    asked(play)
    other = play.attach("B", 10, events={"syscall_entry": "hold", "syscall_exit": "report"})
    play.done()
    assert play << own_call() == ["options 10 no exits bound", TAKEN, "restart 10 syscall"]
    assert play << leaving(10, 0) == [OWN, "complete", "restart 10 syscall"]
    assert play << own_call() == ["B: syscall_entry 10 name=read held"]
    assert play.resume(other, 10) == ["restart 10 syscall"]


def test_a_thread_that_is_to_be_held_is_so_at_its_own_call(play: Playbook) -> None:
    asked(play)
    other = play.attach("B", 10, events={})
    play.done()
    play << own_call()
    assert play.hold(other, announce=True) == ["interrupt 10"]
    assert play << leaving(10, 0) == [OWN, "complete", "restart 10 syscall"]
    assert play << own_call() == ["complete", "B: stop 10 why=requested held"]


def test_it_goes_over_what_the_stack_holds_where_nothing_is_below(play: Playbook) -> None:
    installation = asked(play)
    del play.targets[10].contents[SP - 1024]
    play.targets[10].contents[SP] = STACK
    assert f"call 10 x86_64 {SECCOMP} 1 0 {SP}" in play << own_call()
    play << leaving(10, 0)
    assert play.targets[10].contents[SP] == STACK
    assert installation.failure is None


def test_a_32_bit_call_of_a_64_bit_program_cannot_name_it(play: Playbook) -> None:
    asked(play)
    call = entering(10, "read")
    call.arch, call.sp = AUDIT_ARCH_I386, SP + (1 << 32)
    assert play << call == ["restart 10 syscall"]
    assert TAKEN in play << own_call()


def test_without_room_there_is_no_filter(play: Playbook) -> None:
    installation = asked(play)
    play.targets[10].contents.clear()
    assert play << own_call() == ["complete", "restart 10 syscall"]
    assert installation.failure == "there is no room on the stack of process 10"


def test_a_process_that_has_more_threads_meanwhile_gets_none(play: Playbook) -> None:
    installation = asked(play)
    play << cloned(10, 11)
    assert play << own_call() == ["complete", "restart 10 syscall"]
    assert installation.failure == "process 10 has 2 threads"


@pytest.mark.parametrize("left", [False, True])
def test_what_is_asked_for_meanwhile_has_its_turn_then(play: Playbook, left: bool) -> None:
    one = asked(play)
    play << own_call()
    two, three = (filtering.install(play.core.processes[10], PROGRAM) for _ in range(2))
    two.wanted = not left
    play << leaving(10, 0)
    assert (one.failure, len(one.outstanding), len(three.outstanding)) == (None, 0, 1)
    for _ in range(2 - left):
        assert TAKEN in play << own_call()
        play << leaving(10, 0)
    assert play << own_call() == ["restart 10 syscall"]
    assert play.core.processes[10].filters == 3 - left
    assert not three.outstanding


def test_with_the_process_all_that_is_asked_for_ends(play: Playbook) -> None:
    asked(play)
    others = [filtering.install(play.core.processes[10], PROGRAM) for _ in range(2)]
    play << dead(10)
    assert [other.failure for other in others] == ["process 10 has ended"] * 2


def test_whoever_asked_for_it_may_have_left(play: Playbook) -> None:
    installation = asked(play)
    trace = next(iter(play.core.traces))
    play.attach("B", 10, events={})
    installation.wanted = False
    play.end(trace)
    assert play << own_call() == ["restart 10 run"]
    assert play.tracee(10).installation is None


def test_whoever_asked_for_it_may_leave_while_it_is_put_in(play: Playbook) -> None:
    installation = asked(play)
    trace = next(iter(play.core.traces))
    play << own_call()
    installation.wanted = False
    play.end(trace)
    # It cannot be removed, so that the process is kept.
    assert play << leaving(10, 0) == [OWN, "complete", "restart 10 syscall"]
    assert play << own_call() == ["restart 10 run"]


def test_a_failure_after_that_lets_the_process_go(play: Playbook) -> None:
    installation = asked(play)
    trace = next(iter(play.core.traces))
    play << own_call()
    installation.wanted = False
    play.end(trace)
    assert play << leaving(10, -EACCES) == [OWN, "options 10 no exits", "restart 10 syscall"]
    assert play << own_call() == ["detach 10", "forget 10"]


def test_one_that_is_killed_meanwhile_leaves_memory_that_others_have_too_as_it_was(play: Playbook) -> None:
    asked(play)
    play.attach("B", 10, events={"exit": "report"})
    play.done()
    play << own_call()
    assert not any(line.startswith("make") for line in play << killed(10))
    assert memory(play) == STACK


def test_a_process_that_ends_first_has_none(play: Playbook) -> None:
    installation = asked(play)
    play << own_call()
    assert "complete" in play << dead(10, signal="SIGKILL")
    assert installation.failure == "process 10 has ended"


# Stops of a filter


def test_the_call_is_told_and_the_rest_runs(play: Playbook) -> None:
    bound(play)
    assert play << filtered(10) == ["restart 10 syscall"]
    told, done = play << leaving(10, 10)
    assert told.startswith("A: syscall 10 name=getpid return=10 ")
    assert done == "restart 10 run"


def test_until_the_execve_an_entry_that_stops_twice_is_one(play: Playbook) -> None:
    asked(play)
    play << own_call()
    play << leaving(10, 0)
    play << entering(10)
    assert play << filtered(10) == ["restart 10 syscall"]
    play << leaving(10, 10)
    assert play << entering(10, "execve") == ["restart 10 run"]
    assert play << execed(10) == ["A: exec 10 path=/bin/true former_tid=10", "restart 10 run"]
    assert play << filtered(10) == ["restart 10 syscall"]


def test_beside_an_engine_that_wants_calls_an_entry_is_told_once(play: Playbook) -> None:
    bound(play)
    other = play.attach("B", 10, events={"syscall_entry": "report"})
    assert play.done() == ["interrupt 10"]
    play << interrupted(10)
    assert play << entering(10) == ["B: syscall_entry 10 name=getpid", "restart 10 syscall"]
    assert play << filtered(10) == ["restart 10 syscall"]
    assert len(play << leaving(10, 10)) == 2
    play << entering(10, "read")
    play.detach(other)
    # Its return was wanted by nobody else: the next stop of the filter is another call's.
    assert play << leaving(10, 0) == ["restart 10 run"]
    assert play << filtered(10) == ["restart 10 syscall"]


def test_a_call_whose_return_is_not_seen_does_not_hide_the_next(play: Playbook) -> None:
    bound(play)
    other = play.attach("B", 10, events={"syscall_entry": "hold"})
    play.done()
    play << interrupted(10)
    play << entering(10, "read")
    play.detach(other)
    assert play << filtered(10) == ["restart 10 syscall"]
    assert any("getpid" in line for line in play << leaving(10, 10))


def test_a_step_over_a_filtered_call_ends_where_it_returns(play: Playbook) -> None:
    bound(play)
    other = play.attach("B", 10, hold=True, events={})
    play << interrupted(10)
    play.done()
    assert play.resume(other, 10, Wish.STEP) == ["restart 10 step"]
    assert play << filtered(10) == ["restart 10 syscall"]
    lines = play << leaving(10, 10)
    assert [line.split()[1] for line in lines] == ["syscall", "step"]
    assert play.resume(other, 10, Wish.STEP) == ["restart 10 step"]
    assert play << stepped(10) == ["B: step 10 held"]


# What is bound


def test_it_stays_traced_when_the_trace_ends(play: Playbook) -> None:
    bound(play)
    trace = next(iter(play.core.traces))
    assert play.end(trace) == ["A: detached 10 reason=client_request", "retire A"]
    assert play << filtered(10) == ["restart 10 run"]
    assert play << signalled(10, 10) == ["restart 10 run 10"]
    other = play.attach("B", 10, events={"syscall_exit": "report"})
    assert play.done() == ["interrupt 10"]
    play << interrupted(10)
    play.detach(other)
    assert play.done() == []
    assert 10 in play.core.tracees


def test_a_trace_that_ends_leaves_a_held_thread_to_run(play: Playbook) -> None:
    bound(play)
    other = play.attach("B", 10, hold=True, events={})
    play << interrupted(10)
    play.done()
    play.end(next(iter(play.core.traces)))
    assert play.detach(other) == ["B: detached 10 reason=client_request", "retire B", "restart 10 run"]


def test_its_children_and_threads_are_so_too(play: Playbook) -> None:
    bound(play)
    play.end(next(iter(play.core.traces)))
    assert play << forked(10, 20) == ["restart 10 run"]
    assert play << interrupted(20) == ["restart 20 run"]
    assert play << cloned(20, 21) == ["restart 20 run"]
    assert play << interrupted(21) == ["restart 21 run"]
    assert play << filtered(21) == ["restart 21 run"]


def test_children_too_many_to_be_followed_are_so_too(play: Playbook) -> None:
    bound(play)
    play.core.most = 1
    assert "untraced=limit_exceeded" in (play << forked(10, 20))[0]
    assert play << interrupted(20) == ["restart 20 run"]


@pytest.mark.parametrize(("filtered_too", "done"), [(True, ["restart 20 run"]), (False, ["detach 20"])])
def test_a_child_of_one_that_was_killed_and_forgotten_is_so_too(
    play: Playbook, filtered_too: bool, done: list[str]
) -> None:
    bound(play)
    play << dead(10, signal="SIGKILL")
    play << interrupted(20)
    lifecycle.origin(play.core, 20, Origin(20, 1, filtered_too))
    assert play.done() == done
    assert (20 in play.core.tracees) == filtered_too
    assert not play.core.orphans.origins


def test_the_children_of_a_process_that_ends_before_it_tells_are_so_too(play: Playbook) -> None:
    bound(play)
    play << interrupted(20)
    play.core.orphans.origins[20] = Origin(20, 10)
    play << dead(10)
    play.done()
    assert play.core.processes[20].bound
