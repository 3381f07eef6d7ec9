"""The core's own: each stop is answered once, group-stops, interrupts."""

from __future__ import annotations

import pytest

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
    signalled,
    vfork_done,
)

BOTH = {"syscall_entry": "report", "syscall_exit": "report"}

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


# The end


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
