"""A target may die at any call: nothing is raised, nothing stays stopped, and its end is told."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import target
from tests.live.machine import free
from utraced.api import engine, events, registers, thread, trace
from utraced.errors import UtracedError
from utraced.kernel import ptrace

CALLS = ("_ptrace", "_quick", "_waiting_ptrace")
NEVER = 1 << 30


class Fault:
    """Kills the target, or with ``own`` the process that the call is made on, before call ``at`` (from 0)."""

    def __init__(self, patch, pid, at, *, own):
        self.calls = 0
        self.done = False
        self._pid = pid
        self._at = at
        self._own = own
        for name in CALLS:
            patch.setattr(ptrace, name, self._faulty(getattr(ptrace, name)))

    def _faulty(self, call):
        def faulty(request, tid, *arguments):
            number, self.calls = self.calls, self.calls + 1
            if number == self._at:
                self.done = True
                os.kill(tid if self._own else self._pid, signal.SIGKILL)
            return call(request, tid, *arguments)

        return faulty


def work(side):
    """Fork, start a thread, be signalled, exec."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    started = threading.Event()
    threading.Thread(target=started.set).start()
    started.wait()
    signal.signal(signal.SIGUSR1, lambda *_: None)
    os.kill(os.getpid(), signal.SIGUSR1)
    os.execv("/bin/true", ["true"])


def trace_it(hand, found):
    started = hand.call(trace.Start(pid=found.pid, follow=True, entries=True))
    found.go()
    hand.until(lambda: not hand.core.tracees)
    assert started.trace in hand.session.ended


def hold_it(hand, found):
    attached = hand.call(engine.Attach(pid=found.pid, hold=True, events=("exit", "death")))
    tid = found.pid
    hand.call(registers.Read(engine=attached.engine, tid=tid))
    for action in ("step", "syscall", "block_step"):
        hand.call(thread.Resume(engine=attached.engine, tid=tid, action=action))
        found.go()
        hand.until(lambda: tid not in hand.core.tracees or hand.core.tracees[tid].stopped)
    hand.call(engine.SetEvents(engine=attached.engine, events=("signal",)))
    hand.call(engine.Detach(engine=attached.engine))
    hand.until(lambda: not hand.core.tracees)


def hold_its_events(hand, found):
    mask = {"clone": "hold", "exec": "hold", "signal": "hold", "exit": "hold", "death": "report"}
    hand.call(engine.Attach(pid=found.pid, events=mask, follow=True))
    found.go()
    while hand.core.tracees:
        hand.until(lambda: not hand.core.tracees or any(tracee.stopped for tracee in hand.core.tracees.values()))
        for tracee in list(hand.core.tracees.values()):
            if tracee.stopped and tracee.holders:
                hand.call(thread.Resume(engine=tracee.holders[0].id, tid=tracee.tid))


def two_share_it(hand, found):
    other = hand.another(2)
    first = hand.call(engine.Attach(pid=found.pid, hold=True))
    second = hand.call(engine.Attach(pid=found.pid, hold=True), session=other)
    hand.call(thread.Resume(engine=first.engine))
    hand.call(engine.Detach(engine=second.engine), session=other)
    hand.call(thread.Stop(engine=first.engine))
    other.close("session_closed", 0)
    hand.call(engine.Detach(engine=first.engine))
    hand.until(lambda: not hand.core.tracees)


@pytest.mark.parametrize("own", [False, True], ids=["target", "own"])
@pytest.mark.parametrize("scenario", [trace_it, hold_it, hold_its_events, two_share_it])
def test_it_may_die_at_every_call(scenario, own, monkeypatch):
    calls = attempt(scenario, NEVER, own, monkeypatch)
    assert calls > 7
    # Not all of a busy trace: each kind of call is among the first, and then only more of the same.
    for at in range(min(calls, 50)):
        attempt(scenario, at, own, monkeypatch)


def attempt(scenario, at, own, monkeypatch):
    """Run a scenario, with the target dying at a call; return how many calls there were."""
    with target(work) as found, by_hand() as hand, monkeypatch.context() as patch:
        fault = Fault(patch, found.pid, at, own=own)
        try:
            scenario(hand, found)
        except UtracedError:
            # What a client is told of one that is gone; nothing else may be raised.
            if not fault.done:
                raise
        hand.until(lambda: not hand.core.tracees, f"the end of all, of call {at}")
        assert not hand.core.processes
        assert not hand.core.waiters
        assert not hand.core.orphans.stops
        hand.events()
        for clone in hand.told(events.Clone):
            assert free(clone.child_pid)
        began = {event.engine for event in hand.seen if event.engine} | {
            event.trace for event in hand.seen if event.trace
        }
        ended = [event.engine or event.trace for event in hand.told(events.Detached)]
        assert len(set(ended)) == len(ended)
        assert began == set(ended)
        return fault.calls
