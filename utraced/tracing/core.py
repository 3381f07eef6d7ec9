"""The core: takes classified stops, keeps engines, and says what is to be done with each thread.

The rules (PROTOCOL.md §4; utrace's before it), each with a test of its name in tests/tracing/test_rules.py:

- Any number of engines, of any sessions, share a process, and each is told what it chose for itself.
- What an engine chose for one thread counts there instead of what it chose for all.
- Engines are told in attach order, at the entry of a system call in reverse.
- An engine attached during a report does not see it: reports go over the engines as they stood.
- An engine that reports lets the thread go on; one that holds has it from the event on, and is told ``held``.
- A thread runs only when no engine holds it, and is restarted once, when the last one lets go.
- An engine holds a thread once, however often it asks, and lets go of its own hold alone.
- Of several wishes the strongest wins: stop, step, block_step, syscall, run.
- Whoever steps, nobody loses the system calls that it asked for: a step ends where the call returns that it came to.
- A wish lasts until the engine holds again: what else stops the thread does not end it.
- Who let go while others held is told ``resumed`` when the last of them lets go.
- A hold, and a wish, go with their engine; what it had changed stays.
- A signal or a call is changed by the engine that holds it alone; where another holds it too that is contended.
- A new thread is born under the holds of the engines that hold all others.
- Every stop is answered by exactly one restart, listen or detach, or by none while somebody holds the thread.
- A process with a filter of ours stays traced when its last engine has left.
- SIGKILL and death beat everything: an action on a dying thread fails and is forgotten, its death comes by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from utraced.api import events
from utraced.api.events import Event
from utraced.observing.trace import Trace

from . import lifecycle, reports, steps
from .actions import Action, Capture, Complete, Detach, Forget, Interrupt, Listen, SetOptions, Tell, Wish
from .engine import Engine, Owner
from .orphans import Orphans
from .pressure import HeldBack
from .process import Process, Target, Tracee
from .stops import (
    AnyStop,
    CloneStop,
    Death,
    EventStop,
    ExecStop,
    ExitStop,
    GroupStop,
    SignalStop,
    SyscallStop,
    VforkDoneStop,
)
from .waiting import Doubt, Waiter

PID_MAX_LIMIT = 4_194_304
"""linux/include/linux/threads.h: there are no more threads than that."""


class Core:
    """All traced processes.

    ``open_target`` gives the memory of a new process.  With ``most`` tracees no further process is followed into;
    those that are traced are so with all threads, however many they make.  ``unreaped`` are processes that have ended,
    while engines wait to be told that their parents have taken note.  ``filters`` counts those of ours that processes
    were given.  Actions gather in ``actions``; whoever calls takes them and carries them out in order.
    """

    def __init__(self, open_target: Callable[[int], Target], *, most: int = PID_MAX_LIMIT) -> None:
        self.open_target = open_target
        self.most = most
        self.processes: dict[int, Process] = {}
        self.tracees: dict[int, Tracee] = {}
        self.unreaped: list[Process] = []
        self.orphans = Orphans()
        self.filters = 0
        self.traces: set[Trace] = set()
        self.waiters: list[Waiter] = []
        self.held_back = HeldBack()
        self.actions: list[Action] = []
        self._reports: dict[type, Callable[[Core, Tracee, Any], None]] = {
            SyscallStop: reports.syscall,
            SignalStop: reports.signal,
            GroupStop: reports.group_stop,
            EventStop: reports.event_stop,
            CloneStop: lifecycle.clone,
            VforkDoneStop: reports.vfork_done,
            ExecStop: reports.execed,
            ExitStop: reports.exiting,
        }

    def take(self) -> list[Action]:
        """Return the actions gathered since the last call."""
        actions, self.actions = self.actions, []
        return actions

    def handle(self, stop: AnyStop) -> None:
        """Take one classified stop."""
        if type(stop) is Death:
            lifecycle.death(self, stop)
            return
        if type(stop) is ExecStop:
            tracee = lifecycle.execed(self, stop)
        else:
            tracee = self.tracees.get(stop.tid)
        if tracee is None:
            lifecycle.unknown(self, stop)
            return
        if tracee.stop is not None or (type(stop) is ExitStop and stop.status.signal == "SIGKILL"):
            # Only SIGKILL, or the end of its process, moves a thread out of a stop: no hold outlives that.
            lifecycle.doom(tracee)
        tracee.stop = stop
        # Any stop clears an interrupt that was still on its way (ptrace_stop in kernel/signal.c).
        tracee.fresh = tracee.listening = tracee.interrupting = False
        if tracee.installation is not None and tracee.installation.takes(self, tracee, stop):
            return
        self._reports[type(stop)](self, tracee, stop)
        self.settle(tracee)

    def handle_syscall(self, stop: SyscallStop) -> Wish | None:
        """Take one syscall-stop; return how to restart the thread where that is all there is to do.

        The same as ``handle``, which it falls back on, without the detours: this is where the time goes.
        """
        tracee = self.tracees.get(stop.tid)
        if (
            tracee is None
            or tracee.wishes
            or tracee.stop is not None
            or tracee.interrupting
            or self.waiters
            or tracee.installation is not None
        ):
            self.handle(stop)
            return None
        process = tracee.process
        tracee.stop = stop
        reports.syscall(self, tracee, stop)
        if (
            tracee.holders
            or tracee.leaving
            or tracee.exits is not process.exits
            or tracee.outcome is not None
            or self.held_back
        ):
            self.settle(tracee)
            return None
        tracee.stop = None
        request = process.request
        if request is Wish.RUN:
            if tracee.entries:  # a filter's: the call's return is wanted
                request = Wish.SYSCALL
            else:
                tracee.entry = None
        tracee.request = request
        return request

    def engines(self) -> list[Engine]:
        """Return all engines, also those whose process has ended."""
        return [engine for process in (*self.processes.values(), *self.unreaped) for engine in process.engines]

    def bound(self) -> bool:
        """Tell whether there are processes that end with us (see ``filtering``)."""
        return any(process.bound for process in self.processes.values())

    def unbound(self) -> set[int]:
        """Return the threads of all others."""
        return {tid for tid, tracee in self.tracees.items() if not tracee.process.bound}

    # What is told

    def tell(self, engine: Engine, tracee: Tracee, event: Event, *, hold: bool = False) -> None:
        """Tell an engine an event of a stopped thread; with ``hold`` it holds the thread from now."""
        stop = tracee.stop
        event.pid = tracee.process.pid
        event.tid = tracee.tid
        event.engine = engine.id
        event.time_ns = event.time_ns or (stop.time_ns if stop is not None else 0)
        if hold and not tracee.doomed:
            event.held = True
            tracee.holds(engine)
        if engine.registers and stop is not None and type(event) is not events.Resumed:
            self.actions.append(Capture(tracee.tid, event))
        self.actions.append(Tell(engine.owner, event))
        self.held_back.told(engine, tracee, event)

    def tell_trace(self, engine: Engine, tracee: Tracee, event: Event) -> None:
        """Tell a trace an event of a thread, after the entries of the calls that it overtakes.

        A system call overtakes nothing: calls that overlap for a moment are told whole, as they return.
        """
        trace = engine.trace
        if trace is None or trace.waiting:
            return
        if trace.untold and not isinstance(event, events.Syscall):
            for entry in trace.overtaken():
                self.actions.append(Tell(engine.owner, entry))
        event.pid = tracee.process.pid
        event.tid = tracee.tid
        event.trace = trace.id
        if not event.time_ns:
            event.time_ns = tracee.stop.time_ns if tracee.stop is not None else 0
        self.actions.append(Tell(engine.owner, event))
        self.held_back.told(engine, tracee, event)

    def waiting_entries(self) -> bool:
        """Tell whether there are calls of which their trace's client knows nothing yet."""
        return any(trace.untold for trace in self.traces)

    def overdue(self, before_ns: int) -> bool:
        """Tell the entries of calls entered before ``before_ns``; return whether younger ones are still untold."""
        for trace in self.traces:
            for entry in trace.overtaken(before_ns):
                self.actions.append(Tell(trace.owner, entry))
        return self.waiting_entries()

    # How a thread goes on

    def settle(self, tracee: Tracee) -> None:
        """Answer a stop: one restart, listen or detach, or nothing while somebody holds the thread."""
        if self.waiters:
            self.settle_waiters(tracee.tid)
        if tracee.leaving:
            self._let_go(tracee)
        elif tracee.holders:
            pc = hex(tracee.stop.pc) if tracee.stop is not None else None
            announce, tracee.announce = tracee.announce, {}
            for engine, why in announce.items():
                self.tell(engine, tracee, events.Stop(why=why, pc=pc, held=True))
        else:
            self.restart(tracee)

    def settle_waiters(self, tid: int) -> None:
        """Note that a thread has stopped, or is gone, for the requests that wait for it."""
        for waiter in [waiter for waiter in self.waiters if waiter.settle(tid)]:
            self.waiters.remove(waiter)
            if isinstance(waiter, Doubt):
                lifecycle.let_orphan_go(self, waiter.orphan)
            else:
                self.actions.append(Complete(waiter))

    def interrupt(self, tracee: Tracee) -> None:
        """Make a thread stop, once: a second PTRACE_INTERRUPT before the first has worked says nothing new."""
        if not tracee.interrupting:
            tracee.interrupting = True
            self.actions.append(Interrupt(tracee.tid))

    def restart(self, tracee: Tracee) -> None:
        """Restart a stopped thread that nobody holds, as the smallest wish says, unless it is held back."""
        if self.held_back and tracee in self.held_back and not tracee.doomed:
            return
        process = tracee.process
        stop = tracee.stop
        if tracee.exits is not process.exits:
            tracee.exits = process.exits
            self.actions.append(SetOptions(tracee.tid, process.exits, process.bound))
        tracee.stop = None
        if tracee.group_stopped and type(stop) is GroupStop:
            tracee.listening = True
            self.actions.append(Listen(tracee.tid))
            return
        wish = process.request if tracee.outcome is None and not tracee.entries else Wish.SYSCALL
        if tracee.wishes:
            wish = min(wish, *tracee.wishes.values())
        if type(stop) is ExitStop:
            lifecycle.doom(tracee)  # it does not stop again
        signal = tracee.signal if type(stop) is SignalStop else 0
        tracee.signal = 0
        action = steps.restart(tracee, stop, wish, signal)
        if action.wish is not Wish.SYSCALL:
            tracee.entry = None  # its return will not be seen
        self.actions.append(action)

    def relieve(self, owner: Owner) -> None:
        """Restart the threads that were held back because ``owner`` read too slowly, unless others hold them."""
        for tracee in self.held_back.relieve(owner):
            if tracee.stop is not None and not tracee.holders and not tracee.leaving:
                self.restart(tracee)

    def _let_go(self, tracee: Tracee) -> None:
        """Detach a stopped thread; a signal on its way to it goes on its way, the trap of a step of ours does not."""
        stop = tracee.stop
        stepping = tracee.stepping or tracee.request <= Wish.BLOCK_STEP
        behind = stepping and (type(stop) is EventStop or type(stop) is GroupStop)
        self.actions.append(Detach(tracee.tid, tracee.signal if type(stop) is SignalStop else 0, behind))
        tracee.stop = None

    def detached(self, tid: int) -> None:
        """Take note that a detach has worked.  Where it has not the thread is dying: it may stop once more, to exit."""
        tracee = self.tracees.get(tid)
        if tracee is not None and tracee.leaving:
            self.drop(tracee)

    def drop(self, tracee: Tracee) -> None:
        """Forget a thread that is gone or detached, and its process with the last one."""
        process = tracee.process
        for engine in process.engines:
            if engine.trace is not None:
                engine.trace.untold.pop(tracee, None)
        self.held_back.drop(tracee)
        while tracee.installation is not None:
            tracee.installation.lost(self, tracee)
        if self.tracees.get(tracee.tid) is tracee:
            del self.tracees[tracee.tid]
        process.tracees.pop(tracee.tid, None)
        if self.waiters:
            self.settle_waiters(tracee.tid)
        if not process.tracees and self.processes.get(process.pid) is process:
            del self.processes[process.pid]
            self.actions.append(Forget(process.pid))
            for orphan in self.orphans.of(process.pid):
                lifecycle.let_orphan_go(self, orphan)
