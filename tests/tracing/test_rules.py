"""The rules at the head of the core, each on a stage of its own."""

from __future__ import annotations

import pytest

from utraced.errors import Contended
from utraced.tracing.actions import Wish
from utraced.tracing.changes import CallChange

from .playbook import cloned, dead, entering, group_stopped, interrupted, killed, leaving, signalled, stepped

BOTH = {"syscall_entry": "report", "syscall_exit": "report"}
HOLD_SIGNALS = {"signal": "hold"}


def stopped(play, **engines):
    """Return engines by name that all hold thread 10."""
    made = play.running(10, **engines)
    for engine in made.values():
        play.hold(engine)
    play << interrupted(10)
    return made


def test_any_number_of_engines_share_a_process_and_each_is_told_what_it_chose(play):
    play.seize(10)
    masks = {"A": {"exec": "report"}, "B": {"signal": "report"}, "C": BOTH, "D": {"signal": "report"}, "E": {}}
    for name, mask in masks.items():
        play.attach(name, 10, session={"D": "B"}.get(name), events=mask)
    play << interrupted(10)
    assert [line[:9] for line in play << signalled(10, 10)] == ["B: signal", "D: signal", "restart 1"]
    assert play << entering(10) == ["C: syscall_entry 10 name=getpid", "restart 10 syscall"]


def test_what_an_engine_chose_for_one_thread_counts_there_instead_of_what_it_chose_for_all(play):
    made = play.running(10, 11, A={"events": {"signal": "report", "job_control": "report"}})["A"]
    made.thread_events[11] = {"signal": "hold"}
    assert (play << signalled(10, 10))[-1] == "restart 10 run 10"
    assert (play << signalled(11, 10))[-1].endswith("held")
    assert play << group_stopped(10) == ["A: job_control 10 state=stopped signal=SIGSTOP", "listen 10"]
    play.resume(made, 11)
    assert play << group_stopped(11) == ["listen 11"]


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
    made = play.running(10, A={"events": {"signal": "hold", **BOTH, "syscall_entry": "hold"}})["A"]
    assert play << signalled(10, 10) == ["A: signal 10 signal=SIGUSR1 code=SI_USER sender_pid=0 sender_uid=0 held"]
    other = play.attach("B", 10, events={"signal": "hold", **BOTH})
    assert play.done() == []
    assert play.resume(made, 10) == ["restart 10 syscall 10"]
    assert other not in play.tracee(10).holders
    assert play << entering(10) == ["B: syscall_entry 10 name=getpid", "A: syscall_entry 10 name=getpid held"]
    play.attach("C", 10, events=BOTH)
    play.resume(made, 10)
    # It does see the next one, the return of the call.
    assert [line[:1] for line in play << leaving(10, 10)] == ["A", "B", "C", "r"]


def test_who_reports_lets_the_thread_go_on_and_who_holds_has_it_from_the_event_on(play):
    made = play.running(10, A={"events": {"signal": "report"}}, B={"events": HOLD_SIGNALS})
    lines = play << signalled(10, 10)
    assert [(line[:1], line.endswith("held")) for line in lines] == [("A", False), ("B", True)]
    assert play.tracee(10).holders == [made["B"]]


def test_a_thread_runs_only_when_no_engine_holds_it_and_is_restarted_once(play):
    made = stopped(play, A={}, B={}, C={})
    assert play.resume(made["B"], 10) == ["still held"]
    assert play.resume(made["A"], 10) == ["still held"]
    assert [line for line in play.resume(made["C"], 10) if line.startswith("restart")] == ["restart 10 run"]


def test_an_engine_holds_a_thread_once_and_lets_go_of_its_own_hold_alone(play):
    made = stopped(play, A={}, B={})
    for _ in range(3):
        assert play.hold(made["A"]) == []
    assert play.tracee(10).holders == [made["A"], made["B"]]
    assert play.resume(made["A"], 10) == ["still held"]
    assert play.tracee(10).holders == [made["B"]]


@pytest.mark.parametrize(
    ("first", "second", "prevails"),
    [
        (Wish.STEP, Wish.BLOCK_STEP, "step"),
        (Wish.STEP, Wish.RUN, "step"),
        (Wish.STEP, Wish.SYSCALL, "step calls"),
        (Wish.BLOCK_STEP, Wish.RUN, "block_step"),
        (Wish.BLOCK_STEP, Wish.SYSCALL, "step calls"),
        (Wish.SYSCALL, Wish.RUN, "syscall"),
        (Wish.RUN, Wish.RUN, "run"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_several_wishes_the_strongest_wins(play, first, second, prevails, turned):
    made = stopped(play, A={}, B={}, C={})
    wishes = (second, first) if turned else (first, second)
    play.resume(made["A"], 10, wishes[0])
    # To stop is the strongest.
    assert play.resume(made["B"], 10, wishes[1]) == ["still held"]
    assert play.detach(made["C"])[-1] == f"restart 10 {prevails}"


def test_what_the_engines_want_told_counts_among_the_wishes(play):
    made = play.running(10, A={}, B={"events": BOTH})
    play.hold(made["A"])
    play << interrupted(10)
    assert play.resume(made["A"], 10, Wish.RUN) == ["restart 10 syscall"]


def test_whoever_steps_nobody_loses_the_calls_it_asked_for(play):
    made = play.running(10, A={}, B={"events": BOTH})
    play.hold(made["A"])
    play << interrupted(10)
    assert play.resume(made["A"], 10, Wish.STEP) == ["restart 10 step calls"]
    assert play << entering(10) == ["B: syscall_entry 10 name=getpid", "restart 10 syscall"]
    assert play << leaving(10, 7) == ["B: syscall_exit 10 name=getpid return=7", "A: step 10 held"]
    assert play.resume(made["A"], 10, Wish.BLOCK_STEP) == ["restart 10 step calls"]
    assert play << stepped(10) == ["A: step 10 held"]


def test_a_wish_lasts_until_its_engine_holds_again(play):
    made = stopped(play, A={}, B={})
    play.resume(made["A"], 10, Wish.STEP)
    play.resume(made["B"], 10)
    assert play << signalled(10, 10) == ["restart 10 step 10"]
    assert play << group_stopped(10) == ["listen 10"]
    assert play << interrupted(10) == ["restart 10 step"]
    play.hold(made["A"])
    play << interrupted(10)
    assert play.resume(made["A"], 10) == ["restart 10 run"]


def test_who_let_go_while_others_held_is_told_when_the_last_of_them_lets_go(play):
    made = stopped(play, A={}, B={}, C={})
    assert play.resume(made["A"], 10) == ["still held"]
    assert play.resume(made["B"], 10, Wish.STEP) == ["still held"]
    assert play.resume(made["C"], 10) == ["A: resumed 10", "B: resumed 10", "restart 10 step"]
    # Once: the step of B goes on after another hold, and that is nothing new to it.
    play.hold(made["C"])
    play << interrupted(10)
    assert play.resume(made["C"], 10) == ["restart 10 step"]


def test_a_hold_and_a_wish_go_with_their_engine_and_what_it_had_changed_stays(play):
    made = play.running(10, A={"events": {"syscall_entry": "hold"}}, B={})
    play << entering(10)
    play.resume(made["A"], 10, Wish.STEP, call=CallChange(abort=True, result=-1))
    play.hold(made["B"])
    assert play.detach(made["A"]) == ["A: detached 10 reason=client_request", "retire A"]
    assert play << leaving(10, -38) == ["result 10 -1", "complete"]
    play.hold(made["B"])
    assert play.detach(made["B"])[-2:] == ["detach 10", "forget 10"]


def test_the_hold_of_another_engine_stays(play):
    made = stopped(play, A={}, B={})
    assert play.detach(made["A"]) == ["A: detached 10 reason=client_request", "retire A"]
    assert play.tracee(10).holders == [made["B"]]
    assert play.detach(made["B"])[-2:] == ["detach 10", "forget 10"]


def test_what_another_holds_too_is_contended(play):
    made = play.running(10, A={"events": HOLD_SIGNALS}, B={"events": HOLD_SIGNALS})
    play << signalled(10, 10)
    with pytest.raises(Contended):
        play.resume(made["A"], 10, signal=0)
    assert play.tracee(10).holders == [made["A"], made["B"]]
    assert play.resume(made["B"], 10) == ["still held"]
    assert play.resume(made["A"], 10, signal=0) == ["B: resumed 10", "restart 10 run"]


def test_a_new_thread_is_born_under_the_holds_of_those_that_hold_all_others(play):
    made = play.running(10, A={}, B={})
    assert play.hold(made["A"]) == ["interrupt 10"]
    play << cloned(10, 11)
    assert play << interrupted(11) == ["A: stop 11 why=requested held"]
    assert play.tracee(11).holders == [made["A"]]


def test_every_stop_is_answered_once_or_not_while_somebody_holds(play):
    made = play.running(10, A={}, B={"events": BOTH})
    for stop in (entering(10), leaving(10), signalled(10, 10), group_stopped(10), interrupted(10)):
        lines = play << stop
        assert len([line for line in lines if line.startswith(("restart", "listen", "detach"))]) == 1
    play.hold(made["A"])
    assert [line for line in play << entering(10) if line.startswith(("restart", "listen", "detach"))] == []


def test_sigkill_and_death_beat_everything(play):
    made = play.running(10, 11, A={"events": {"exit": "hold", "death": "report"}})["A"]
    play.hold(made)
    play << interrupted(10)
    play << interrupted(11)
    assert play << killed(11) == ["A: exit 11 status=SIGKILL", "restart 11 run"]
    assert play << dead(11, signal="SIGKILL") == ["A: death 11 status=SIGKILL"]
    assert play << killed(10) == ["A: exit 10 status=SIGKILL", "restart 10 run"]
    assert (play << dead(10, signal="SIGKILL"))[0] == "A: death 10 status=SIGKILL last=True"
