"""What sessions ask of the core."""

from __future__ import annotations

import pytest

from utraced.errors import Contended, NoSuchProcess, NotHeld
from utraced.tracing import control
from utraced.tracing.actions import Wish
from utraced.tracing.waiting import Waiter

from .playbook import dead, entering, group_stopped, interrupted, killed, signalled

SYSCALLS = {"syscall_entry": "report"}


def test_attaching_waits_until_all_threads_do_as_wanted(play):
    play.seize(10, 11)
    engine = play.engine("A", 10, events=SYSCALLS)
    waiter = control.attach(play.core, engine)
    assert play.done() == []
    assert waiter.outstanding == {10, 11}
    assert play << interrupted(10) == ["restart 10 syscall"]
    assert play << interrupted(11) == ["complete", "restart 11 syscall"]
    assert play.completed == [waiter]


def test_attaching_with_hold_tells_no_stop(play):
    play.seize(10)
    waiter = control.attach(play.core, play.engine("A", 10, hold=True))
    assert play << interrupted(10) == ["complete"]
    assert not waiter.outstanding


def test_a_second_engine_interrupts_only_where_the_threads_must_change(play):
    play.running(10, A={"events": {}})
    play.attach("B", 10, events={"exec": "report"})
    assert play.done() == []
    play.attach("C", 10, events=SYSCALLS)
    assert play.done() == ["interrupt 10"]
    assert play << interrupted(10) == ["complete", "restart 10 syscall"]
    play.attach("D", 10, events=SYSCALLS)
    assert play.done() == []


def test_threads_that_are_stopped_or_listen_change_when_they_go_on(play):
    made = play.running(10, 11, A={"events": {}})["A"]
    play.hold(made, 10)
    play << interrupted(10)
    play << group_stopped(11)
    play.attach("B", 10, events=SYSCALLS)
    assert play.done() == []
    assert play.resume(made, 10) == ["restart 10 syscall"]
    assert play << interrupted(11) == ["restart 11 syscall"]


def test_a_thread_is_interrupted_once(play):
    made = play.running(10, A={}, B={})
    assert play.hold(made["A"]) == ["interrupt 10"]
    assert play.hold(made["B"]) == []
    assert play << interrupted(10) == ["complete", "complete"]


def test_a_hold_that_nobody_waits_for_is_announced(play):
    made = play.running(10, 11, A={})["A"]
    play.hold(made, 10)
    play << interrupted(10)
    assert play.hold(made, announce=True) == ["A: stop 10 why=requested held", "interrupt 11"]
    assert play << interrupted(11) == ["complete", "A: stop 11 why=requested held"]


def test_an_event_that_holds_needs_no_announcement(play):
    made = play.running(10, A={"events": {"signal": "hold"}})["A"]
    play.hold(made, announce=True)
    assert play << signalled(10, 10) == [
        "A: signal 10 signal=SIGUSR1 code=SI_USER sender_pid=0 sender_uid=0 held",
        "complete",
    ]


def test_who_gives_up_waiting_is_told_later(play):
    made = play.running(10, 11, A={})["A"]
    waiter = control.hold(play.core, made, made.process.tracees.values())
    play << interrupted(10)
    control.give_up(play.core, made, waiter, "requested")
    assert not play.core.waiters
    assert play << interrupted(11) == ["A: stop 11 why=requested held"]


def test_giving_up_what_is_gone_is_nothing(play):
    made = play.running(10, A={})["A"]
    control.give_up(play.core, made, Waiter([10, 99]), "requested")
    assert not play.tracee(10).announce


def test_resuming_needs_a_hold_of_ones_own(play):
    made = play.running(10, A={}, B={})
    with pytest.raises(NotHeld):
        play.resume(made["A"], 10)
    play.hold(made["A"])
    play << interrupted(10)
    with pytest.raises(NotHeld):
        play.resume(made["B"], 10)
    assert play.resume(made["A"], 10) == ["restart 10 run"]


@pytest.mark.parametrize(("signal", "sent"), [(None, " 10"), (0, ""), (12, " 12")])
def test_a_signal_can_be_dropped_or_replaced(play, signal, sent):
    made = play.running(10, A={"events": {"signal": "hold"}})["A"]
    play << signalled(10, 10)
    assert play.resume(made, 10, signal=signal) == [f"restart 10 run{sent}"]
    assert play << interrupted(10) == ["restart 10 run"]


def test_a_hold_may_be_let_go_before_the_thread_has_stopped(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.hold(made["B"])
    assert play.resume(made["A"], 10) == ["still held"]
    assert play.resume(made["B"], 10) == ["A: resumed 10"]
    assert not play.tracee(10).wishes
    assert play << interrupted(10) == ["complete", "complete", "restart 10 run"]


def test_a_step_asked_for_before_the_thread_has_stopped_is_made(play):
    made = play.running(10, A={})["A"]
    play.hold(made)
    assert play.resume(made, 10, Wish.STEP) == []
    assert play << interrupted(10) == ["complete", "restart 10 step"]


def test_a_signal_that_another_holds_is_contended(play):
    made = play.running(10, A={"events": {"signal": "hold"}}, B={"events": {"signal": "hold"}})
    play << signalled(10, 10)
    with pytest.raises(Contended) as raised:
        play.resume(made["A"], 10, signal=0)
    assert raised.value.data["holder"].session == 2
    assert play.tracee(10).holders == [made["A"], made["B"]]
    assert play.resume(made["A"], 10) == ["still held"]
    assert play.resume(made["B"], 10, signal=0) == ["A: resumed 10", "restart 10 run"]


def test_only_at_a_signal_can_one_be_changed(play):
    made = play.running(10, A={"events": {"syscall_entry": "hold"}})["A"]
    play << entering(10)
    with pytest.raises(NotHeld):
        play.resume(made, 10, signal=0)


def test_resumed_is_told_to_those_who_let_go_before(play):
    made = play.running(10, A={}, B={}, C={})
    for engine in made.values():
        play.hold(engine)
    play << interrupted(10)
    assert play.resume(made["A"], 10) == ["still held"]
    assert play.resume(made["B"], 10) == ["still held"]
    assert play.detach(made["C"]) == [
        "C: detached 10 reason=client_request",
        "retire C",
        "A: resumed 10",
        "B: resumed 10",
        "restart 10 run",
    ]
    assert not play.tracee(10).wishes


def test_a_hold_released_before_the_thread_stopped_leaves_nothing(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.detach(made["A"])
    assert play << interrupted(10) == ["complete", "restart 10 run"]


def test_the_last_engine_lets_all_threads_go(play):
    made = play.running(10, 11, 12, A={"events": {"signal": "hold"}})["A"]
    play << signalled(11, 10)
    play << group_stopped(12)
    assert play.detach(made, "session_closed") == [
        "A: detached 10 reason=session_closed",
        "retire A",
        "interrupt 10",
        "detach 11 10",
        "interrupt 12",
    ]
    assert play << group_stopped(12) == ["detach 12"]
    assert play << interrupted(10) == ["detach 10", "forget 10"]


def test_an_engine_ends_once(play):
    made = play.running(10, A={})["A"]
    play.detach(made)
    assert play.detach(made) == []


def test_an_engine_that_comes_while_threads_leave_keeps_them(play):
    made = play.running(10, A={})["A"]
    assert play.detach(made)[-1] == "interrupt 10"
    play.attach("B", 10)
    assert play << interrupted(10) == ["restart 10 run"]


def test_status_says_who_holds(play):
    made = play.running(10, 11, A={}, B={})
    held, free = play.tracee(10), play.tracee(11)
    play.hold(made["A"], 10)
    assert control.status(made["A"], held).state == "pending"
    assert control.status(made["B"], held).state == "running"
    play << interrupted(10)
    assert control.status(made["A"], held).state == "held"
    assert control.status(made["B"], held).state == "stopped"
    assert [holder.session for holder in control.status(made["B"], held).holders] == [1]
    assert control.status(made["A"], free).state == "running"


def test_a_wish_goes_with_a_new_hold(play):
    made = play.running(10, A={}, B={})
    play.hold(made["A"])
    play.hold(made["B"])
    play << interrupted(10)
    play.resume(made["A"], 10, Wish.STEP)
    assert play.hold(made["A"]) == []
    play.resume(made["B"], 10)
    assert play.resume(made["A"], 10) == ["B: resumed 10", "restart 10 run"]


def test_who_waits_for_a_thread_that_dies_waits_no_more(play):
    made = play.running(10, 11, A={"events": {}})["A"]
    play.hold(made, 11)
    assert play << dead(11) == ["complete"]


def test_a_killed_thread_ends_the_waiting_too(play):
    made = play.running(10, A={"events": {}})["A"]
    play.hold(made)
    assert play << killed(10) == ["complete", "restart 10 run"]


def test_threads_are_found_in_their_process_alone(play):
    process = play.seize(10)
    play.seize(20)
    assert control.tracee_of(play.core, process, 10).tid == 10
    with pytest.raises(NoSuchProcess):
        control.tracee_of(play.core, process, 20)
