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
    assert play.resume(made["B"], 10, Wish.SYSCALL) == ["A: resumed 10", "restart 10 step calls"]
    assert play << stepped(10) == ["A: step 10 held"]
    assert play.resume(made["A"], 10) == ["restart 10 syscall"]
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


def test_a_step_into_a_handler_is_told_as_one(play):
    made = play.running(10, A={"events": HOLD_SIGNALS})["A"]
    play << signalled(10, 10)
    assert play.resume(made, 10, Wish.STEP) == ["restart 10 step 10"]
    # signal_setup_done tells it with SIGTRAP for a code.
    assert play << stepped(10, 5) == ["A: step 10 held"]


@pytest.mark.parametrize("wish", [Wish.STEP, Wish.BLOCK_STEP])
def test_a_step_over_a_call_that_others_are_told_ends_at_its_return(play, wish):
    made = play.running(10, A={}, B={"events": {"syscall_exit": "hold"}})
    play.hold(made["A"])
    play << interrupted(10)
    assert play.resume(made["A"], 10, wish) == ["restart 10 step calls"]
    assert play << entering(10) == ["restart 10 syscall"]
    assert play << signalled(10, 10) == ["restart 10 syscall 10"]
    assert play << leaving(10) == ["B: syscall_exit 10 name=getpid return=0 held", "A: step 10 held"]


def test_a_step_asked_for_at_the_entry_of_a_call_ends_at_its_return(play):
    made = play.running(10, A={"events": {"syscall_entry": "hold"}})["A"]
    play << entering(10)
    assert play.resume(made, 10, Wish.STEP) == ["restart 10 syscall"]
    assert play << leaving(10) == ["A: step 10 held"]


def test_a_step_over_an_exec_ends_at_its_return(play):
    made = play.running(10, A={}, B={"events": {"syscall_entry": "report"}})
    play.hold(made["A"])
    play << interrupted(10)
    play.resume(made["A"], 10, Wish.STEP)
    play << entering(10, "execve")
    assert (play << execed(10))[-1] == "restart 10 syscall"
    assert play << leaving(10) == ["A: step 10 held"]


def test_a_return_that_comes_before_a_step_is_begun_does_not_end_it(play):
    made = play.running(10, A={}, B={"events": {"syscall_entry": "report"}})
    play << entering(10)
    play.hold(made["A"])
    assert play.resume(made["A"], 10, Wish.STEP) == []
    assert play << leaving(10) == ["complete", "restart 10 step calls"]


def test_a_block_is_interrupted_where_another_is_to_be_told_calls(play):
    made = play.running(10, A={})["A"]
    play.hold(made)
    play << interrupted(10)
    assert play.resume(made, 10, Wish.BLOCK_STEP) == ["restart 10 block_step"]
    play.attach("B", 10, events={"syscall_entry": "report"})
    assert play.done() == ["interrupt 10"]
    assert play << interrupted(10) == ["complete", "restart 10 step calls"]


def test_who_leaves_while_a_trap_waits_takes_it_along(play):
    made = play.running(10, A={})["A"]
    play.hold(made)
    play << interrupted(10)
    play.resume(made, 10, Wish.STEP)
    play.trap_waits = True
    assert play.detach(made)[-1] == "interrupt 10"
    assert play << interrupted(10) == ["detach 10 stepping"]
    assert play << stepped(10) == ["detach 10", "forget 10"]


def test_who_leaves_where_no_trap_waits_just_leaves(play):
    made = play.running(10, A={})["A"]
    play.hold(made)
    play << interrupted(10)
    play.resume(made, 10, Wish.STEP)
    play.hold(made)
    play << interrupted(10)
    assert play.detach(made)[-2:] == ["detach 10 stepping", "forget 10"]
