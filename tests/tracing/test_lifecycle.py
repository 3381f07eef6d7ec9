"""How threads and processes come and go, and every race between them that the kernel allows."""

from __future__ import annotations

import pytest

from utraced.tracing import control, lifecycle
from utraced.tracing.orphans import Origin

from .playbook import (
    cloned,
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
)


def origin(play, tid, tgid, ppid, siblings=()):
    lifecycle.origin(play.core, tid, Origin(tgid, ppid), siblings)
    return play.done()


# Clone


def test_a_new_thread_is_known_before_its_first_stop(play):
    play.running(10, A={})
    assert play << cloned(10, 11) == ["A: clone 10 how=thread child_pid=10 child_tid=11", "restart 10 run"]
    assert play << interrupted(11) == ["restart 11 run"]


def test_a_child_that_ended_before_its_parent_told_is_told_whole(play):
    play.running(10, A={"follow": True})
    play << interrupted(20)
    play << dead(20, signal="SIGKILL")
    assert play << forked(10, 20) == [
        "A: clone 10 how=fork child_pid=20 child_tid=20 child_engine=2",
        "A/20: death 20 status=SIGKILL last=True",
        "A/20: detached 20 reason=target_exited status=SIGKILL",
        "retire A/20",
        "forget 20",
        "restart 10 run",
    ]
    assert play.core.processes.keys() == {10}


def test_a_child_that_was_killed_into_its_exit_before_its_parent_told_is_let_go(play):
    play.running(10, A={"follow": True})
    play << interrupted(20)
    assert play << killed(20) == ["detach 20"]
    assert play << forked(10, 20) == ["A: clone 10 how=fork child_pid=20 child_tid=20", "restart 10 run"]
    assert play.core.tracees.keys() == {10}


def test_where_as_much_is_traced_as_may_be_a_child_is_let_go_and_who_follows_is_told(play):
    play.running(10, A={"follow": True, "events": {}}, B={"events": {}}, C={"events": {"clone": "report"}})
    play.core.most = 1
    assert play << forked(10, 20) == [
        "A: clone 10 how=fork child_pid=20 child_tid=20 untraced=limit_exceeded",
        "C: clone 10 how=fork child_pid=20 child_tid=20",
        "restart 10 run",
    ]
    assert play << interrupted(20) == ["detach 20", "forget 20"]
    play.core.most = 2
    assert play << forked(10, 21) == [
        "A: clone 10 how=fork child_pid=21 child_tid=21 child_engine=2",
        "C: clone 10 how=fork child_pid=21 child_tid=21",
        "restart 10 run",
    ]


def test_a_trace_is_told_of_a_child_that_it_cannot_follow(play):
    play.seize(10)
    trace = play.trace("T", 10, follow=True)
    play << interrupted(10)
    play.done()
    play.core.most = 1
    assert play << forked(10, 20) == [
        "T: clone 10 how=fork child_pid=20 child_tid=20 untraced=limit_exceeded",
        "restart 10 syscall",
    ]
    assert trace.processes == 1


def test_threads_of_a_traced_process_are_traced_however_many(play):
    play.running(10, A={"follow": True})
    play.core.most = 1
    assert play << cloned(10, 11) == ["A: clone 10 how=thread child_pid=10 child_tid=11", "restart 10 run"]
    assert play << interrupted(11) == ["restart 11 run"]


def test_a_new_thread_may_first_stop_with_its_group(play):
    play.running(10, A={"events": {"job_control": "report"}})
    assert play << group_stopped(11) == []
    assert play << cloned(10, 11) == [
        "A: job_control 11 state=stopped signal=SIGSTOP",
        "listen 11",
        "restart 10 run",
    ]


def test_a_tid_that_is_used_again_is_another_thread(play):
    play.running(10, A={})
    play << interrupted(20)
    play << dead(20)
    play << interrupted(20)
    assert play << forked(10, 20) == [
        "A: clone 10 how=fork child_pid=20 child_tid=20",
        "detach 20",
        "forget 20",
        "restart 10 run",
    ]


def test_the_child_of_a_parent_killed_before_telling_is_told_for_it(play):
    play.running(10, A={"follow": True}, B={"events": {"clone": "hold"}})
    play << interrupted(20)
    origin(play, 20, 20, 10)
    assert play << dead(10, signal="SIGKILL") == [
        "A: clone 10 how=fork child_pid=20 child_tid=20 child_engine=2",
        "B: clone 10 how=fork child_pid=20 child_tid=20",
        "restart 20 run",
        "A: death 10 status=SIGKILL last=True",
        "A: detached 10 reason=target_exited status=SIGKILL",
        "retire A",
        "B: detached 10 reason=target_exited status=SIGKILL",
        "retire B",
        "forget 10",
    ]


def test_a_child_is_not_told_while_its_parent_still_may(play):
    play.running(10, 11, 12, A={"follow": True})
    play << interrupted(20)
    origin(play, 20, 20, 10)
    assert play << dead(11) == ["A: death 11 status=0"]
    assert play << forked(12, 20) == [
        "A: clone 12 how=fork child_pid=20 child_tid=20 child_engine=2",
        "restart 20 run",
        "restart 12 run",
    ]


def test_the_child_of_a_thread_swallowed_by_an_exec_is_told_for_it(play):
    play.running(10, 11, A={"follow": True})
    play << interrupted(20)
    origin(play, 20, 20, 10)
    assert play << execed(10) == [
        "A: death 11",
        "A: clone 10 how=fork child_pid=20 child_tid=20 child_engine=2",
        "restart 20 run",
        "A: exec 10 path=/bin/true former_tid=10",
        "restart 10 run",
    ]


# Follow


def test_a_followed_child_is_held_before_its_first_instruction(play):
    made = play.running(10, A={"follow": True, "hold": True})["A"]
    play.resume(made, 10)
    play << forked(10, 20, "vfork")
    assert play << interrupted(20) == ["A/20: stop 20 why=attached held"]
    child = play.owner("A").engines[2]
    assert (child.process.pid, child.hold, child.follow) == (20, True, True)
    assert play.resume(child, 20) == ["restart 20 run"]


def test_children_nobody_follows_are_let_go_at_their_first_stop(play):
    play.running(10, A={})
    assert play << forked(10, 20) == ["A: clone 10 how=fork child_pid=20 child_tid=20", "restart 10 run"]
    assert play << interrupted(20) == ["detach 20", "forget 20"]
    assert play.core.processes.keys() == {10}


def test_who_follows_is_told_of_its_new_engine_whatever_it_chose(play):
    play.running(10, A={"follow": True, "events": {}}, B={"events": {}})
    assert play << forked(10, 20) == [
        "A: clone 10 how=fork child_pid=20 child_tid=20 child_engine=2",
        "restart 10 run",
    ]


def test_an_engine_may_attach_to_a_child_that_was_to_be_let_go(play):
    play.running(10, A={})
    play << forked(10, 20)
    play.attach("B", 20, hold=True)
    assert play.done() == ["interrupt 20"]
    assert play << interrupted(20) == ["complete"]


def test_an_orphan_that_is_attached_to_runs_for_its_engine(play):
    play.running(10, A={})
    play << interrupted(20)
    origin(play, 20, 20, 10)
    play.seize(20)
    play.attach("B", 20, hold=True)
    assert play.done() == ["restart 20 run", "interrupt 20"]
    assert play << interrupted(20) == ["complete"]
    assert play << forked(10, 20) == ["A: clone 10 how=fork child_pid=20 child_tid=20", "restart 10 run"]


def test_a_held_clone_holds_the_parent_alone(play):
    made = play.running(10, A={"events": {"clone": "hold"}})["A"]
    assert play << cloned(10, 11) == ["A: clone 10 how=thread child_pid=10 child_tid=11 held"]
    assert play << interrupted(11) == ["restart 11 run"]
    assert play.resume(made, 10) == ["restart 10 run"]


# Exec


def test_an_exec_swallows_the_other_threads(play):
    play.running(10, 11, 12, A={})
    assert play << execed(10) == [
        "A: death 11",
        "A: death 12",
        "A: exec 10 path=/bin/true former_tid=10",
        "restart 10 run",
    ]
    assert play.targets[10].renewed == 1


def test_an_exec_of_another_thread_takes_over_the_leader(play):
    made = play.running(10, 11, A={"events": {"exec": "report", "death": "report", "syscall_exit": "report"}})["A"]
    made.thread_events[11] = {"signal": "hold"}
    made.thread_events[10] = {}
    play << entering(11, "execve")
    assert play << execed(10, 11) == ["restart 10 syscall"]
    assert made.thread_events == {10: {"signal": "hold"}}
    made.thread_events.clear()
    assert play << leaving(10, 0) == ["A: syscall_exit 10 name=execve return=0", "restart 10 syscall"]
    assert play.core.tracees.keys() == {10}
    assert made.process.tracees.keys() == {10}


def test_the_end_of_a_leader_that_is_taken_over_names_its_successor(play):
    play.running(10, 11, A={})
    assert play << execed(10, 11) == [
        "A: death 10 successor_tid=11",
        "A: exec 10 path=/bin/true former_tid=11",
        "restart 10 run",
    ]


def test_a_held_leader_is_taken_over(play):
    made = play.running(10, 11, A={})["A"]
    play.hold(made, 10)
    play << interrupted(10)
    play << execed(10, 11)
    assert not play.tracee(10).holders
    assert play.hold(made, 10) == ["interrupt 10"]


def test_who_waits_for_a_thread_that_an_exec_swallows_waits_no_more(play):
    made = play.running(10, 11, A={})["A"]
    assert play.hold(made) == ["interrupt 10", "interrupt 11"]
    assert "complete" in play << execed(10, 11)
    assert play.tracee(10).holders == [made]


def test_a_process_killed_before_its_exec_was_told_ends(play):
    play.running(10, 11, A={})
    assert play << dead(10, signal="SIGKILL") == [
        "A: death 11",
        "A: death 10 status=SIGKILL last=True",
        "A: detached 10 reason=target_exited status=SIGKILL",
        "retire A",
        "forget 10",
    ]


# The end


def test_the_last_thread_ends_its_process(play):
    play.running(10, 11, A={})
    assert play << dead(11, 7) == ["A: death 11 status=7"]
    assert play << dead(10, 3) == [
        "A: death 10 status=3 last=True",
        "A: detached 10 reason=target_exited status=3",
        "retire A",
        "forget 10",
    ]
    assert (play.core.tracees, play.core.processes) == ({}, {})


def test_a_thread_tells_its_end_to_the_events_of_its_own(play):
    made = play.running(10, 11, 12, A={})["A"]
    made.thread_events[11] = {"signal": "report"}
    assert play << dead(11) == []
    assert play << dead(12) == ["A: death 12 status=0"]
    assert made.thread_events == {}


def test_a_detach_that_fails_is_tried_again_at_the_last_stop(play):
    made = play.running(10, A={})["A"]
    play.hold(made)
    play << interrupted(10)
    play.detaches = False
    assert play.detach(made)[-1] == "detach 10"
    assert play.core.tracees
    assert play << killed(10) == ["detach 10"]
    assert play << dead(10, signal="SIGKILL") == ["forget 10"]


def test_a_detach_that_works_at_the_last_stop_is_the_end(play):
    made = play.running(10, A={})["A"]
    play.detach(made)
    assert play << exiting(10) == ["detach 10", "forget 10"]


@pytest.mark.parametrize("stop", [signalled(30, 10), exiting(30), entering(30), execed(30)])
def test_a_thread_nobody_knows_is_let_go(play, stop):
    assert play << stop == [f"detach 30{' 10' if stop.__class__.__name__ == 'SignalStop' else ''}"]


def test_the_death_of_a_thread_nobody_knows_is_nothing(play):
    assert play << dead(30) == []


def test_a_detach_is_noted_only_of_threads_that_leave(play):
    play.running(10, A={})
    play.core.detached(10)
    play.core.detached(11)
    assert play.core.tracees.keys() == {10}
    control.refresh(play.core, play.core.processes[10])
    assert play.done() == []


def test_a_hold_on_all_threads_holds_one_that_is_made_before_it_works(play):
    engine = play.running(10, A={})["A"]
    assert play.hold(engine, 10) == ["interrupt 10"]
    assert play << cloned(10, 11) == ["A: clone 10 how=thread child_pid=10 child_tid=11", "complete"]
    assert play << interrupted(11) == ["A: stop 11 why=requested held"]
