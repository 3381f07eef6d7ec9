"""What sessions ask of the core: attach, detach, hold, resume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from utraced.api import events
from utraced.errors import Contended, NoSuchProcess, NotHeld
from utraced.model import Holder, ThreadState, ThreadStatus

from . import lifecycle
from .actions import Interrupt, Wish
from .engine import Engine
from .process import Process, Tracee, Why
from .stops import SignalStop
from .waiting import Waiter

if TYPE_CHECKING:
    from .core import Core


def adopt_thread(core: Core, process: Process, tid: int) -> None:
    """Make known a thread that was just seized and interrupted."""
    tracee = Tracee(tid, process)
    tracee.interrupting = True
    lifecycle.adopt(core, tracee)


def attach(core: Core, engine: Engine) -> Waiter:
    """Add an engine to its process; what is returned waits until every thread does as the engine needs."""
    process = engine.process
    process.engines.append(engine)
    if engine.trace is not None:
        core.traces.add(engine.trace)
    for tracee in process.tracees.values():
        tracee.leaving = False
    waiter = refresh(core, process)
    return hold(core, engine, list(process.tracees.values())) if engine.hold else wait(core, waiter)


def refresh(core: Core, process: Process) -> Waiter:
    """Make a process's threads run as its engines want them to from now on.

    A thread restarted before for less than is wanted now, or with other options, must stop once to be changed.
    """
    process.refresh()
    waiter = Waiter(())
    for tracee in process.tracees.values():
        insufficient = tracee.request > process.request or tracee.exits is not process.exits
        running = not tracee.stopped and not tracee.listening and not tracee.doomed
        if running and (tracee.fresh or insufficient):
            interrupt(core, tracee)
            waiter.outstanding.add(tracee.tid)
    return waiter


def detach(
    core: Core,
    engine: Engine,
    reason: Literal["client_request", "session_closed", "daemon_stopping"],
    time_ns: int,
) -> None:
    """End an engine: its holds go, and with the last engine its process is let go."""
    process = engine.process
    if engine not in process.engines:
        return
    for tracee in list(process.tracees.values()):
        trace = engine.trace
        unfinished = trace.abandon(tracee, time_ns) if trace is not None else None
        if unfinished is not None:
            core.tell_trace(engine, tracee, unfinished)
    lifecycle.end(core, engine, reason, time_ns)
    process.refresh()
    for tracee in list(process.tracees.values()):
        tracee.wishes.pop(engine, None)
        tracee.announce.pop(engine, None)
        if not process.engines:
            leave(core, tracee)
        elif engine in tracee.holders:
            release(core, engine, tracee)


def leave(core: Core, tracee: Tracee) -> None:
    """Let go of a thread, now if it is stopped, else when it next stops."""
    tracee.leaving = True
    tracee.holders.clear()
    tracee.announce.clear()
    if tracee.stopped:
        core.settle(tracee)
    else:
        interrupt(core, tracee)


def interrupt(core: Core, tracee: Tracee) -> None:
    """Make a thread stop, once: a second PTRACE_INTERRUPT before the first has worked says nothing new."""
    if not tracee.interrupting:
        tracee.interrupting = True
        core.actions.append(Interrupt(tracee.tid))


def wait(core: Core, waiter: Waiter) -> Waiter:
    """Note a waiter that still waits for threads."""
    if waiter.outstanding:
        core.waiters.append(waiter)
    return waiter


def hold(core: Core, engine: Engine, tracees: Iterable[Tracee], *, announce: bool = False) -> Waiter:
    """Make an engine hold threads; with ``announce`` a ``stop`` event tells of each, else only of late ones."""
    waiter = Waiter(())
    for tracee in tracees:
        tracee.wishes.pop(engine, None)
        if tracee.doomed:
            continue
        if engine not in tracee.holders:
            tracee.holders.append(engine)
        if tracee.stopped:
            if announce:
                tracee.announce[engine] = "requested"
                core.settle(tracee)
        else:
            if announce:
                tracee.announce[engine] = "requested"
            interrupt(core, tracee)
            waiter.outstanding.add(tracee.tid)
    return wait(core, waiter)


def give_up(core: Core, engine: Engine, waiter: Waiter, why: Why) -> None:
    """Stop waiting: threads that are not held yet get a ``stop`` event when they are."""
    if waiter in core.waiters:
        core.waiters.remove(waiter)
    for tid in waiter.outstanding:
        tracee = core.tracees.get(tid)
        if tracee is not None and engine in tracee.holders:
            tracee.announce[engine] = why


def release(core: Core, engine: Engine, tracee: Tracee) -> bool:
    """Take an engine's hold off a thread; return whether it runs now."""
    tracee.holders.remove(engine)
    tracee.announce.pop(engine, None)
    if tracee.holders:
        return False
    for other in tracee.process.engines:
        if other is not engine and other in tracee.wishes:
            core.tell(other, tracee, events.Resumed())
    if tracee.stopped:
        core.restart(tracee)
    for other, wish in list(tracee.wishes.items()):
        if wish is Wish.RUN:
            del tracee.wishes[other]
    return True


def resume(core: Core, engine: Engine, tracee: Tracee, wish: Wish, signal: int | None) -> bool:
    """Let an engine's hold go, with its wish how to go on; ``signal`` replaces the one to be delivered (0: none).

    Returns whether the thread runs now.  Raises NotHeld, and Contended where another engine holds the thread at the
    signal that is to be changed.
    """
    if engine not in tracee.holders:  # one that is pending may be let go before it is held
        raise NotHeld(f"thread {tracee.tid} is not held by engine {engine.id}", tid=tracee.tid)
    if signal is not None:
        if type(tracee.stop) is not SignalStop:
            raise NotHeld(f"thread {tracee.tid} is not held at a signal", tid=tracee.tid)
        others = [other for other in tracee.holders if other is not engine]
        if others:
            session = others[0].owner.session
            raise Contended(f"session {session} holds the thread too", holder=Holder(session=session))
        tracee.signal = signal
    tracee.wishes[engine] = wish
    return release(core, engine, tracee)


def status(engine: Engine, tracee: Tracee) -> ThreadStatus:
    """Return a thread's state as ``engine`` sees it."""
    state: ThreadState = "running"
    if engine in tracee.holders:
        state = "held" if tracee.stopped else "pending"
    elif tracee.stopped and tracee.holders:
        state = "stopped"
    return ThreadStatus(tid=tracee.tid, state=state, holders=holders(tracee))


def holders(tracee: Tracee) -> tuple[Holder, ...]:
    """Return who holds a thread."""
    return tuple(Holder(session=engine.owner.session) for engine in tracee.holders)


def tracee_of(core: Core, process: Process, tid: int) -> Tracee:
    """Return a thread of a process; raises NoSuchProcess."""
    tracee = process.tracees.get(tid)
    if tracee is None:
        raise NoSuchProcess(f"process {process.pid} has no thread {tid}", hint="engine.info lists its threads.")
    return tracee
