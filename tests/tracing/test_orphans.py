"""Threads that stop before their parent tells of them."""

from __future__ import annotations

import pytest

from utraced.tracing import lifecycle, orphans
from utraced.tracing.orphans import Origin, Orphans
from utraced.tracing.stops import CloneStop

from .playbook import cloned, dead, execed, forked, group_stopped, interrupted, signalled


def origin(play, tid, tgid, ppid, siblings=()):
    lifecycle.origin(play.core, tid, Origin(tgid, ppid), siblings)
    return play.done()


def test_an_orphan_waits_for_its_parent(play):
    play.running(10, A={"follow": True})
    assert play << interrupted(20) == []
    assert origin(play, 20, 20, 10) == []
    assert play << forked(10, 20) == [
        "A: clone 10 how=fork child_pid=20 child_tid=20 child_engine=2",
        "restart 20 run",
        "restart 10 run",
    ]


def test_a_thread_waits_for_its_parent_too(play):
    play.running(10, A={})
    assert play << interrupted(11) == []
    assert origin(play, 11, 10, 1) == []
    assert play << cloned(10, 11) == [
        "A: clone 10 how=thread child_pid=10 child_tid=11",
        "restart 11 run",
        "restart 10 run",
    ]


def test_a_thread_of_a_process_that_is_let_go_is_let_go(play):
    made = play.running(10, A={})["A"]
    play.detach(made)
    play << interrupted(11)
    origin(play, 11, 10, 1)
    assert play << cloned(10, 11) == ["detach 11", "detach 10", "forget 10"]


def test_an_orphan_whose_parent_is_not_ours_is_let_go(play):
    play.running(10, A={})
    play << interrupted(20)
    assert origin(play, 20, 20, 1) == ["detach 20"]
    assert play << forked(10, 20) == ["A: clone 10 how=fork child_pid=20 child_tid=20", "restart 10 run"]
    assert 20 not in play.core.tracees


def test_an_orphan_may_be_made_by_a_sibling_that_has_not_told_yet(play):
    play.running(10, 11, A={"follow": True})
    play << interrupted(20)
    assert origin(play, 20, 20, 1, [10]) == ["interrupt 10", "interrupt 11"]
    assert play << interrupted(10) == ["restart 10 run"]
    assert play << forked(11, 20) == [
        "A: clone 11 how=fork child_pid=20 child_tid=20 child_engine=2",
        "restart 20 run",
        "restart 11 run",
    ]
    assert not play.core.waiters


def test_an_orphan_that_no_sibling_tells_of_is_let_go(play):
    made = play.running(10, 11, 12, 13, A={"follow": True})["A"]
    play << group_stopped(13)
    play.hold(made, 12)
    play << interrupted(12)
    play << interrupted(20)
    assert origin(play, 20, 20, 1, [10]) == ["interrupt 10", "interrupt 11"]
    assert play << signalled(10, 10) == ["restart 10 run 10"]
    assert sorted(play << dead(11)) == ["A: death 11 status=0", "detach 20"]
    assert not play.core.waiters
    assert not play.core.orphans.stops


@pytest.mark.parametrize("by", ["exec", "death"])
def test_an_orphan_whose_maker_an_exec_has_killed_is_told_of_by_who_is_left(play, by):
    play.running(10, 11, 12, A={"follow": True})
    if by == "exec":
        play << execed(10, 11)
    else:
        play << dead(11, signal="SIGKILL")
    play << interrupted(20)
    left = [f"interrupt {tid}" for tid in play.core.processes[10].tracees]
    assert origin(play, 20, 20, 10) == left
    for tid in list(play.core.processes[10].tracees):
        told = play << interrupted(tid)
    assert told[:1] == ["A: clone 10 how=fork child_pid=20 child_tid=20 child_engine=2"]
    assert "restart 20 run" in told
    assert not play.core.waiters
    assert not play.core.orphans.stops


def test_an_orphan_goes_where_its_parent_is_let_go_before_it_has_told(play):
    made = play.running(10, A={})["A"]
    play << interrupted(20)
    origin(play, 20, 20, 10)
    play.detach(made)
    assert sorted(play << interrupted(10)) == ["detach 10", "detach 20", "forget 10"]
    assert not play.core.orphans.stops


def test_an_orphan_that_dies_in_doubt_is_forgotten(play):
    play.running(10, A={"follow": True})
    play << interrupted(20)
    origin(play, 20, 20, 1, [10])
    play << dead(20)
    assert play << interrupted(10) == ["restart 10 run"]
    assert not play.core.waiters


def test_an_orphan_of_which_proc_says_nothing_is_dying(play):
    play.running(10, A={})
    play << interrupted(20)
    lifecycle.origin(play.core, 20, None)
    assert play.done() == []
    assert play << dead(20) == []
    assert not play.core.orphans.stops


def test_of_many_that_ended_early_the_oldest_are_forgotten():
    found = Orphans()
    for tid in range(orphans.REMEMBERED + 10):
        found.depart(tid, 1, None)
    assert len(found.departed) == orphans.REMEMBERED
    assert 9 not in found.departed
    assert 10 in found.departed


def test_an_end_long_before_was_that_of_another_of_the_same_tid() -> None:
    found = Orphans()
    told = CloneStop(5, 10 + orphans.RECENT_NS, 0, 9, "fork", False)
    found.depart(9, 10, None)
    assert found.end_of(told) is told
    found.depart(9, 11, None)
    assert found.end_of(told) is None
    assert found.end_of(told) is told
