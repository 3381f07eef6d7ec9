"""Engines: what they want, and their children."""

from __future__ import annotations

from utraced.tracing.engine import DEFAULT_EVENTS, Engine
from utraced.tracing.process import Process

from .playbook import FakeOwner, FakeTarget


def engine(**settings: object) -> Engine:
    return Engine(FakeOwner(1), Process(5, FakeTarget(5)), **settings)  # type: ignore[arg-type]


def test_exec_clone_exit_and_death_are_reported_unless_told_otherwise() -> None:
    made = engine()
    assert made.events == DEFAULT_EVENTS == dict.fromkeys(["exec", "clone", "exit", "death"], "report")
    assert made.response("exec", 5) == "report"
    assert made.response("signal", 5) is None


def test_a_thread_may_have_events_of_its_own() -> None:
    made = engine(events={"signal": "report"})
    made.thread_events[6] = {"exit": "hold"}
    assert (made.response("signal", 5), made.response("signal", 6)) == ("report", None)
    assert made.response("exit", 6) == "hold"
    assert made.wants("exit")


def test_system_calls_are_wanted_while_their_switch_is_on() -> None:
    made = engine(events={"syscall_entry": "report"})
    assert made.wants_syscalls()
    made.entry.enabled = False
    assert not made.wants_syscalls()
    made.thread_events[6] = {"syscall_exit": "report"}
    assert made.wants_syscalls()


def test_a_child_has_the_same_events_and_filters_as_its_own() -> None:
    parent = engine(events={"exec": "hold"}, hold=True, hold_on_exec=True, follow=True)
    parent.entry.choose(["read"])
    child = parent.child(Process(6, FakeTarget(6)))
    assert (child.events, child.hold, child.hold_on_exec, child.follow) == ({"exec": "hold"}, True, True, True)
    assert child.owner is parent.owner
    child.entry.add(["write"])
    child.events["clone"] = "report"
    assert parent.entry.calls != child.entry.calls
    assert parent.events == {"exec": "hold"}
