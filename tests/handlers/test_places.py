"""What engine.info tells of threads and filters."""

from __future__ import annotations

import os
import signal

import pytest

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import make_calls, spin, target
from utraced.api import engine, events, registers, thread
from utraced.api.engine import CallFilter, CallsTold
from utraced.errors import InvalidParams


def place(hand, number):
    (found,) = hand.call(engine.Info(engine=number)).threads
    return found.at


def test_a_running_thread_is_nowhere():
    with target(spin) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        (only,) = hand.call(engine.Info(engine=number)).threads
        assert (only.tid, only.state, only.at, only.action, only.events) == (found.pid, "running", None, None, None)


def test_a_stop_that_was_asked_for():
    with target(spin) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        at = place(hand, number)
        general = hand.call(registers.Read(engine=number, tid=found.pid)).general
        assert (at.kind, int(at.pc, 16)) == ("stop", general["rip"])


def test_a_signal():
    with target(spin) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events={"signal": "hold"})).engine
        os.kill(found.pid, signal.SIGUSR1)
        told = hand.wait_for(events.Signal)
        at = place(hand, number)
        assert (at.kind, at.signal) == ("signal", "SIGUSR1")
        assert told.held


def test_a_step_and_a_wish_of_ones_own():
    with target(spin) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        other = hand.call(engine.Attach(pid=found.pid, hold=True), session=hand.another(2)).engine
        hand.call(thread.Resume(engine=number, action="step"))
        (found_,) = hand.call(engine.Info(engine=number)).threads
        assert (found_.state, found_.action, [holder.session for holder in found_.holders]) == ("stopped", "step", [2])
        assert found_.at.kind == "stop"
        two = next(each for each in hand.core.engines() if each.owner.session == 2)
        hand.call(thread.Resume(engine=other), session=two.owner)
        step = hand.wait_for(events.Step)
        at = place(hand, number)
        assert (at.kind, at.pc) == ("step", step.pc)
        two.owner.close("session_closed", 1)


@pytest.mark.parametrize("kind", ["syscall_entry", "syscall_exit"])
def test_a_system_call(kind):
    with target(make_calls(3)) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events={kind: "hold"})).engine
        only = CallFilter(set=("getppid",))
        hand.call(engine.SetSyscalls(engine=number, entry=only, exit=only))
        found.go()
        hand.until(lambda: kind in hand.kinds())
        at = place(hand, number)
        assert (at.kind, at.nr, at.name) == (kind, 110, "getppid")
        assert at.result == (None if kind == "syscall_entry" else os.getpid())


@pytest.mark.parametrize(("kind", "act"), [("exit", lambda _: 3), ("exec", lambda _: os.execv("/bin/true", ["true"]))])
def test_other_events(kind, act):
    with target(act) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events={kind: "hold"})).engine
        found.go()
        hand.until(lambda: kind in hand.kinds())
        assert place(hand, number).kind == kind


def test_a_group_stop():
    with target(spin) as found, by_hand() as hand:
        found.go()
        number = hand.call(engine.Attach(pid=found.pid, events={"job_control": "hold"})).engine
        os.kill(found.pid, signal.SIGTSTP)
        os.kill(found.pid, signal.SIGSTOP)
        hand.until(lambda: "job_control" in hand.kinds())
        at = place(hand, number)
        assert (at.kind, at.signal) in {("job_control", "SIGSTOP"), ("job_control", "SIGTSTP")}
        os.kill(found.pid, signal.SIGCONT)


def test_filters_and_masks_are_told_as_they_are_chosen():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        info = hand.call(engine.Info(engine=number))
        assert info.entry == info.exit == CallsTold(enabled=True, set="all")
        hand.call(
            engine.SetSyscalls(
                engine=number,
                entry=CallFilter(remove=("read", "write")),
                exit=CallFilter(set=("getppid", 0xFFF), enabled=False),
            )
        )
        hand.call(engine.SetEvents(engine=number, events={"signal": "hold"}, tid=found.pid))
        info = hand.call(engine.Info(engine=number))
        assert info.entry == CallsTold(enabled=True, set="all", excluded=("read", "write"))
        assert info.exit == CallsTold(enabled=False, set=("4095", "getppid"))
        assert info.threads[0].events == {"signal": "hold"}
        # What was told chooses the same again.
        hand.call(engine.SetSyscalls(engine=number, exit=CallFilter(set=info.exit.set)))
        again = hand.call(engine.Info(engine=number))
        assert again.exit == info.exit


def test_registers_come_with_events_where_they_are_asked_for():
    with target(make_calls(3)) as found, by_hand() as hand:
        number = hand.call(
            engine.Attach(pid=found.pid, events={"syscall_entry": "hold"}, capture=("registers",))
        ).engine
        assert hand.call(engine.Info(engine=number)).capture == ("registers",)
        found.go()
        event = hand.wait_for(events.SyscallEntry)
        general = hand.call(registers.Read(engine=number, tid=found.pid)).general
        assert event.registers == events.Captured({name: hex(value) for name, value in general.items()})
        assert event.registers.general["rip"] == event.pc
        with pytest.raises(InvalidParams, match="all threads"):
            hand.call(engine.SetEvents(engine=number, events=(), tid=found.pid, capture=()))
        hand.call(engine.SetEvents(engine=number, events={"syscall_exit": "report"}, capture=()))
        hand.call(thread.Resume(engine=number))
        exit_ = hand.wait_for(events.SyscallExit)
        assert exit_.registers is None
        hand.call(engine.SetEvents(engine=number, events=("death",)))
        assert hand.call(engine.Info(engine=number)).capture == ()
