"""Processes that have ended, and are reaped by their parents."""

from __future__ import annotations

from utraced.tracing import lifecycle

from .playbook import dead


def test_who_wants_to_know_is_told_when_a_process_is_reaped(play):
    made = play.running(10, A={"events": {"reap": "hold", "death": "report"}}, B={})["A"]
    assert play << dead(10, 3) == [
        "A: death 10 status=3 last=True",
        "B: death 10 status=3 last=True",
        "B: detached 10 reason=target_exited status=3",
        "retire B",
        "await 10",
        "forget 10",
    ]
    assert play.core.engines() == [made]
    assert play.core.processes == {}
    lifecycle.reaped(play.core, made.process, 99)
    assert play.done() == ["A: reap 10", "A: detached 10 reason=target_exited status=3", "retire A"]
    assert play.core.engines() == []
    lifecycle.reaped(play.core, made.process, 99)
    assert play.done() == []


def test_who_leaves_before_is_not_told(play):
    made = play.running(10, A={"events": {"reap": "report"}}, B={"events": {"reap": "report"}})
    play << dead(10)
    assert play.detach(made["A"]) == ["A: detached 10 reason=client_request status=0", "retire A"]
    process = made["B"].process
    assert play.core.unreaped == [process]
    play.detach(made["B"])
    assert play.core.unreaped == []
    lifecycle.reaped(play.core, process, 99)
    assert play.done() == []


def test_a_thread_is_reaped_with_its_death(play):
    play.running(10, 11, A={"events": {"reap": "report"}})
    assert play << dead(11) == []
    assert play << dead(10) == ["await 10", "forget 10"]
