"""Steps, and wishes that last over several stops."""

from __future__ import annotations

import pytest

from utraced.tracing.actions import Wish

from .playbook import entering, execed, interrupted, leaving, signalled, stepped

HOLD_SIGNALS = {"signal": "hold"}


def test_a_step_is_told_and_held(play):
    made = play.running(10, A={"events": HOLD_SIGNALS})["A"]
    play << signalled(10, 10)
    assert play.resume(made, 10, Wish.STEP) == ["restart 10 step 10"]
    assert play << stepped(10) == ["A: step 10 held"]
    assert play.resume(made, 10) == ["restart 10 run"]


def test_a_step_finished_for_an_engine_that_has_left_is_no_signal_of_the_program(play):
    made = play.running(10, A={"events": HOLD_SIGNALS}, B={})
    play << signalled(10, 10)
    play.resume(made["A"], 10, Wish.STEP)
    play.detach(made["A"])
    assert play << stepped(10) == ["restart 10 run"]


def test_a_step_that_a_stop_of_ours_overtakes_is_no_signal_of_the_program(play):
    made = play.running(10, A={"events": HOLD_SIGNALS})["A"]
    play << signalled(10, 10)
    play.resume(made, 10, Wish.STEP)
    assert play.hold(made) == ["interrupt 10"]
    assert play << interrupted(10) == ["complete"]
    assert play.resume(made, 10) == ["restart 10 run"]
    assert play << stepped(10) == ["restart 10 run"]
    assert play << stepped(10) == ["A: signal 10 signal=SIGTRAP code=TRAP_TRACE address=0x0 held"]


@pytest.mark.parametrize("code", [0, 0x80])
def test_a_breakpoint_of_the_program_is_its_own_signal_while_stepping_too(play, code):
    made = play.running(10, A={"events": HOLD_SIGNALS})["A"]
    play << signalled(10, 10)
    play.resume(made, 10, Wish.STEP)
    assert play << stepped(10, code) == [play._told(made.owner, play.events[-1])]
    assert play.events[-1].signal == "SIGTRAP"
    assert play.resume(made, 10) == ["restart 10 run 5"]


def test_a_step_overtaken_by_a_signal_is_taken_up_again(play):
    made = play.running(10, A={"events": {"exec": "hold"}})["A"]
    play << execed(10)
    assert play.resume(made, 10, Wish.STEP) == ["restart 10 step"]
    assert play << signalled(10, 10) == ["restart 10 step 10"]
    assert play << stepped(10) == ["A: step 10 held"]


def test_two_engines_that_step_are_both_told(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.hold(made["B"])
    play << interrupted(10)
    play.resume(made["A"], 10, Wish.BLOCK_STEP)
    assert play.resume(made["B"], 10, Wish.STEP) == ["A: resumed 10", "restart 10 step"]
    assert play << stepped(10) == ["A: step 10 held", "B: step 10 held"]


def test_the_wish_of_one_engine_outlives_the_step_of_another(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.hold(made["B"])
    play << interrupted(10)
    play.resume(made["A"], 10, Wish.STEP)
    play.resume(made["B"], 10, Wish.SYSCALL)
    assert play << stepped(10) == ["A: step 10 held"]
    assert play.resume(made["A"], 10) == ["B: resumed 10", "restart 10 syscall"]
    assert play << entering(10) == ["B: syscall_entry 10 name=getpid held"]
    assert play.resume(made["B"], 10) == ["restart 10 run"]


def test_a_wish_for_the_next_syscall_stop_is_told_whatever_the_engine_selects(play):
    made = play.running(10, A={})["A"]
    play.hold(made)
    play << interrupted(10)
    assert play.resume(made, 10, Wish.SYSCALL) == ["restart 10 syscall"]
    assert play << entering(10) == ["A: syscall_entry 10 name=getpid held"]
    assert play.resume(made, 10, Wish.SYSCALL) == ["restart 10 syscall"]
    assert play << leaving(10, -38) == ["A: syscall_exit 10 name=getpid return=-38 errno=ENOSYS held"]
