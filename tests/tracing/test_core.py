"""The rules at the head of the core, each on a stage of its own; and what is told of each kind of stop."""

from __future__ import annotations

import struct

import pytest

from utraced.api import events
from utraced.tracing import control
from utraced.tracing.actions import Wish

from .playbook import (
    dead,
    entering,
    execed,
    exiting,
    forked,
    group_stopped,
    interrupted,
    killed,
    leaving,
    signalled,
    vfork_done,
)

BOTH = {"syscall_entry": "report", "syscall_exit": "report"}
HOLD_SIGNALS = {"signal": "hold"}


# The rules


def test_engines_are_told_in_attach_order_and_in_reverse_at_the_entry_of_a_call(play):
    play.running(10, A={"events": BOTH}, B={"events": BOTH})
    assert play << entering(10) == [
        "B: syscall_entry 10 name=getpid",
        "A: syscall_entry 10 name=getpid",
        "restart 10 syscall",
    ]
    assert play << leaving(10, 10) == [
        "A: syscall_exit 10 name=getpid return=10",
        "B: syscall_exit 10 name=getpid return=10",
        "restart 10 syscall",
    ]


def test_an_engine_attached_during_a_report_does_not_see_it(play):
    play.running(10, A={"events": HOLD_SIGNALS})
    assert play << signalled(10, 10) == ["A: signal 10 signal=SIGUSR1 code=SI_USER sender_pid=0 sender_uid=0 held"]
    engine = play.attach("B", 10, events=HOLD_SIGNALS)
    assert play.done() == []
    assert not any(event.engine == engine.id and event.kind == "signal" for event in play.events[1:] if event.engine)


def test_a_thread_runs_only_when_no_engine_holds_it(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.hold(made["B"])
    assert play << interrupted(10) == ["complete", "complete"]
    assert play.resume(made["A"], 10) == ["still held"]
    assert play.resume(made["B"], 10) == ["A: resumed 10", "restart 10 run"]


@pytest.mark.parametrize(
    ("first", "second", "prevails"),
    [
        (Wish.STEP, Wish.BLOCK_STEP, Wish.STEP),
        (Wish.STEP, Wish.RUN, Wish.STEP),
        (Wish.BLOCK_STEP, Wish.SYSCALL, Wish.BLOCK_STEP),
        (Wish.SYSCALL, Wish.RUN, Wish.SYSCALL),
        (Wish.RUN, Wish.RUN, Wish.RUN),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_several_wishes_the_smallest_prevails(play, first, second, prevails, turned):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.hold(made["B"])
    play << interrupted(10)
    wishes = (second, first) if turned else (first, second)
    play.resume(made["A"], 10, wishes[0])
    assert play.resume(made["B"], 10, wishes[1])[-1] == f"restart 10 {prevails.name.lower()}"


def test_what_the_engines_want_told_counts_among_the_wishes(play):
    made = play.running(10, A={}, B={"events": BOTH})
    play.hold(made["A"])
    play << interrupted(10)
    assert play.resume(made["A"], 10, Wish.RUN) == ["restart 10 syscall"]


def test_a_hold_goes_with_its_engine(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play << interrupted(10)
    assert play.detach(made["A"]) == ["A: detached 10 reason=client_request", "retire A", "restart 10 run"]


def test_the_hold_of_another_engine_stays(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.hold(made["B"])
    play << interrupted(10)
    assert play.detach(made["A"]) == ["A: detached 10 reason=client_request", "retire A"]
    assert play.tracee(10).holders == [made["B"]]


STOPS = {
    "syscall": entering(10),
    "signal": signalled(10, 10),
    "group": group_stopped(10),
    "event": interrupted(10),
    "clone": forked(10, 20),
    "vfork_done": vfork_done(10, 20),
    "exec": execed(10),
    "exit": exiting(10),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_every_stop_is_answered_once(play, stop):
    play.running(10, A={"events": {}})
    answers = [line for line in play << stop if line.startswith(("restart", "listen", "detach"))]
    assert len(answers) == 1


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_no_stop_is_answered_while_somebody_holds_the_thread(play, stop):
    made = play.running(10, A={"events": {}})
    assert play.hold(made["A"]) == ["interrupt 10"]
    assert play << stop == ["complete"]


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_thread_that_is_to_be_let_go_is_let_go_at_any_stop(play, stop):
    made = play.running(10, A={"events": {}})
    play.detach(made["A"])
    lines = play << stop
    assert lines == [f"detach 10{' 10' if stop is STOPS['signal'] else ''}", "forget 10"]


def test_sigkill_takes_a_thread_out_of_a_hold(play):
    made = play.running(10, A={"events": {"exit": "hold", "death": "report"}})
    play.hold(made["A"])
    play << interrupted(10)
    assert play << killed(10) == ["A: exit 10 status=SIGKILL", "restart 10 run"]
    assert play << dead(10, signal="SIGKILL") == [
        "A: death 10 status=SIGKILL last=True",
        "A: detached 10 reason=target_exited status=SIGKILL",
        "retire A",
        "forget 10",
    ]


def test_the_end_of_its_process_takes_a_thread_out_of_a_hold(play):
    made = play.running(10, 11, A={"events": {"exit": "hold"}})["A"]
    play.hold(made, 11)
    play << interrupted(11)
    assert play << exiting(11, 3) == ["A: exit 11 status=3", "restart 11 run"]


def test_a_thread_that_is_killed_cannot_be_held(play):
    made = play.running(10, A={"events": {"exit": "hold"}})["A"]
    assert play << killed(10) == ["A: exit 10 status=SIGKILL", "restart 10 run"]
    assert play.hold(made) == []
    assert not play.core.waiters


def test_a_thread_that_was_let_go_at_its_exit_cannot_be_held(play):
    made = play.running(10, 11, A={})["A"]
    assert play << exiting(10) == ["A: exit 10 status=0", "restart 10 run"]
    assert play.hold(made) == ["interrupt 11"]
    assert play << interrupted(11) == ["complete"]


def test_an_exit_can_be_held(play):
    made = play.running(10, A={"events": {"exit": "hold"}})["A"]
    assert play << exiting(10, 1) == ["A: exit 10 status=1 held"]
    assert play.resume(made, 10) == ["restart 10 run"]


# Group-stops


def test_a_group_stop_is_listened_to_until_it_is_over(play):
    play.running(10, A={"events": {"job_control": "report"}})
    assert play << group_stopped(10) == ["A: job_control 10 state=stopped signal=SIGSTOP", "listen 10"]
    assert play << interrupted(10) == ["A: job_control 10 state=continued", "restart 10 run"]


def test_a_group_stop_that_is_interrupted_is_told_once(play):
    made = play.running(10, A={"events": {"job_control": "report"}})["A"]
    play << group_stopped(10, 20)
    assert play.hold(made) == ["interrupt 10"]
    assert play << group_stopped(10, 20) == ["complete"]
    assert play.resume(made, 10) == ["listen 10"]
    assert play << interrupted(10) == ["A: job_control 10 state=continued", "restart 10 run"]


def test_a_listening_thread_that_is_killed_ends(play):
    play.running(10, A={})
    play << group_stopped(10)
    assert play << killed(10) == ["A: exit 10 status=SIGKILL", "restart 10 run"]


def test_a_step_waits_for_the_end_of_a_group_stop(play):
    made = play.running(10, A={"events": {"job_control": "hold"}})["A"]
    assert play << group_stopped(10) == ["A: job_control 10 state=stopped signal=SIGSTOP held"]
    assert play.resume(made, 10, Wish.STEP) == ["listen 10"]
    assert play << interrupted(10) == ["A: job_control 10 state=continued held"]
    assert play.resume(made, 10, Wish.STEP) == ["restart 10 step"]


# Interrupts


def test_a_stop_of_ours_that_nobody_asked_for_any_more_is_silent(play):
    made = play.running(10, A={"events": BOTH})["A"]
    assert play.hold(made) == ["interrupt 10"]
    assert play << signalled(10, 10) == ["complete"]
    assert play.resume(made, 10) == ["restart 10 syscall 10"]
    assert play << interrupted(10) == ["restart 10 syscall"]


@pytest.mark.parametrize("overtaking", [entering(10), signalled(10, 10), forked(10, 20)])
def test_a_stop_that_overtakes_an_interrupt_has_swallowed_it(play, overtaking):
    made = play.running(10, A={"events": {**BOTH, "clone": "report"}})["A"]
    play.hold(made)
    play << overtaking
    play.resume(made, 10)
    assert play.hold(made) == ["interrupt 10"]


def test_a_swallowed_interrupt_that_was_for_a_change_is_not_missed(play):
    made = play.running(10, A={"events": BOTH})["A"]
    made.events["exit"] = "report"
    control.refresh(play.core, made.process)
    assert play.done() == ["interrupt 10"]
    assert play << entering(10) == ["A: syscall_entry 10 name=getpid", "options 10 exits", "restart 10 syscall"]
    assert play.hold(made) == ["interrupt 10"]


# What is told


def test_a_signal_is_told_with_its_sender_and_its_address(play):
    play.running(10, A={"events": {"signal": "report"}})
    info = struct.pack("<II", 123, 1000)
    assert play << signalled(10, 10, 0, info) == [
        "A: signal 10 signal=SIGUSR1 code=SI_USER sender_pid=123 sender_uid=1000",
        "restart 10 run 10",
    ]
    assert play << signalled(10, 11, 1, struct.pack("<Q", 0xDEAD000)) == [
        "A: signal 10 signal=SIGSEGV code=SEGV_MAPERR address=0xdead000",
        "restart 10 run 11",
    ]
    assert len(play.events[-1].info) == 128


def test_the_members_of_a_call_are_told(play):
    play.running(10, A={"events": BOTH})
    play << entering(10, "read", 3, 0x1000, 5, at=77)
    play << leaving(10, -9, at=78)
    entry, exit_ = play.events
    assert isinstance(entry, events.SyscallEntry)
    assert isinstance(exit_, events.SyscallExit)
    assert (entry.arch, entry.nr, entry.args[:3], entry.time_ns) == ("x86_64", 0, ("0x3", "0x1000", "0x5"), 77)
    assert (exit_.args, exit_.result, exit_.errno, exit_.time_ns) == (entry.args, -9, "EBADF", 78)
    assert (entry.pc, entry.sp, entry.pid) == ("0x401000", "0x7ffc0000", 10)


def test_a_call_whose_entry_was_not_seen_is_told_by_nobody(play):
    play.running(10, A={"events": BOTH})
    assert play << leaving(10, 0) == ["restart 10 syscall"]


def test_engines_are_told_only_the_calls_they_select(play):
    made = play.running(10, A={"events": BOTH})["A"]
    made.entry.choose(["write"])
    made.exit.enabled = False
    assert play << entering(10, "getpid") == ["restart 10 syscall"]
    assert play << leaving(10) == ["restart 10 syscall"]
    assert play << entering(10, "write", 1, 2, 3) == ["A: syscall_entry 10 name=write", "restart 10 syscall"]
    assert play << leaving(10) == ["restart 10 syscall"]


def test_single_threads_may_have_events_of_their_own(play):
    made = play.running(10, 11, A={"events": {"signal": "report"}})["A"]
    made.thread_events[11] = {"signal": "hold"}
    assert (play << signalled(10, 10))[-1] == "restart 10 run 10"
    assert (play << signalled(11, 10))[-1].endswith("held")


def test_the_end_of_a_vfork_is_told(play):
    play.running(10, A={"events": {"vfork_done": "report"}})
    assert play << vfork_done(10, 20) == ["A: vfork_done 10 child_pid=20", "restart 10 run"]


def test_an_exec_is_told_and_held_by_who_asked_for_it_at_attach(play):
    made = play.running(10, A={"hold_on_exec": True}, B={"events": {"exec": "hold"}}, C={})
    assert play << execed(10) == [
        "A: exec 10 path=/bin/true former_tid=10",
        "B: exec 10 path=/bin/true former_tid=10 held",
        "C: exec 10 path=/bin/true former_tid=10",
        "A: stop 10 why=exec held",
    ]
    assert play.tracee(10).holders == [made["B"], made["A"]]


def test_a_path_that_is_no_text_is_told_exactly(play):
    play.running(10, A={})
    play << execed(10, path=b"/bin/\xff")
    assert (play.events[0].path, play.events[0].path_bytes) == ("/bin/\\xff", b"/bin/\xff")
    play << execed(10, path=b"")
    assert (play.events[1].path, play.events[1].path_bytes) == (None, None)


def test_exits_stop_a_thread_only_while_an_engine_wants_them(play):
    made = play.running(10, A={"events": {"exec": "report"}})["A"]
    assert play << signalled(10, 10) == ["restart 10 run 10"]
    made.events["exit"] = "report"
    control.refresh(play.core, made.process)
    assert play.done() == ["interrupt 10"]
    assert play << interrupted(10) == ["options 10 exits", "restart 10 run"]
    del made.events["exit"]
    control.refresh(play.core, made.process)
    assert play.done() == ["interrupt 10"]
    assert play << interrupted(10) == ["options 10 no exits", "restart 10 run"]
