"""What sessions ask of the core: attach, detach, hold, resume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from utraced.api import events
from utraced.errors import NoSuchProcess, NotHeld
from utraced.model import Holder, ThreadState, ThreadStatus

from . import changes, lifecycle
from .actions import Wish
from .changes import CallChange, SignalChange
from .engine import Engine
from .process import Process, Tracee, Why
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
        # A block of instructions may have calls in it.
        insufficient |= tracee.request is Wish.BLOCK_STEP and process.request is Wish.SYSCALL
        running = not tracee.stopped and not tracee.listening and not tracee.doomed
        if running and (tracee.fresh or insufficient):
            core.interrupt(tracee)
            waiter.outstanding.add(tracee.tid)
    return waiter


def detach(
    core: Core,
    engine: Engine,
    reason: Literal["client_request", "session_closed", "daemon_stopping"],
    time_ns: int,
) -> None:
    """End an engine: its holds go, and with the last engine its process is let go, unless it is bound."""
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
    if not process.engines:
        process.target.renew()  # one that is bound may go on for long: nothing is kept open for it
    for tracee in list(process.tracees.values()):
        tracee.forget(engine)
        if not process.engines and not process.bound:
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
        core.interrupt(tracee)


def forget_strangers(core: Core, process: Process, ours: Callable[[int], bool]) -> None:
    """Forget threads that are being let go and that others have become: ``ours`` tells whether we trace a tid.

    A leader that has ended is ours for as long as other threads live.  One that was let go already may execute a
    program: it takes the leader's tid, and we are told nothing (de_thread, fs/exec.c).
    """
    for tracee in list(process.tracees.values()):
        if tracee.leaving and not ours(tracee.tid):
            core.drop(tracee)


def wait(core: Core, waiter: Waiter) -> Waiter:
    """Note a waiter that still waits for threads."""
    if waiter.outstanding:
        core.waiters.append(waiter)
    return waiter


def hold(core: Core, engine: Engine, tracees: Iterable[Tracee], *, announce: bool = False) -> Waiter:
    """Make an engine hold threads; with ``announce`` a ``stop`` event tells of each, else only of late ones."""
    waiter = Waiter(())
    for tracee in tracees:
        if tracee.doomed:
            continue
        tracee.holds(engine)
        if tracee.stopped:
            if announce:
                tracee.announce[engine] = "requested"
                core.settle(tracee)
        else:
            if announce:
                tracee.announce[engine] = "requested"
            core.interrupt(tracee)
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
    awaiting, tracee.awaiting = tracee.awaiting, []
    for other in tracee.process.engines:
        if other in awaiting:
            core.tell(other, tracee, events.Resumed())
    if tracee.stopped:
        core.restart(tracee)
    return True


def resume(
    core: Core,
    engine: Engine,
    tracees: Iterable[Tracee],
    wish: Wish,
    change: SignalChange | CallChange | None = None,
) -> bool:
    """Let an engine's holds go, with its wish how the threads go on, after a change of what they are at.

    Returns whether all of them run now.  Raises NotHeld, and what ``changes.check`` does; then nothing is changed.
    """
    held = list(tracees)
    for tracee in held:
        if engine not in tracee.holders:  # one that is pending may be let go before it is held
            raise NotHeld(f"thread {tracee.tid} is not held by engine {engine.id}", tid=tracee.tid)
        changes.check(engine, tracee, change)
    running = True
    for tracee in held:
        changes.apply(core, tracee, change)
        if wish is not Wish.RUN:
            tracee.wishes[engine] = wish
        if not release(core, engine, tracee):
            tracee.awaiting.append(engine)
            running = False
    return running


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
    return tuple(engine.owner.holder for engine in tracee.holders)


def tracee_of(core: Core, process: Process, tid: int) -> Tracee:
    """Return a thread of a process; raises NoSuchProcess."""
    tracee = process.tracees.get(tid)
    if tracee is None:
        raise NoSuchProcess(f"process {process.pid} has no thread {tid}", hint="engine.info lists its threads.")
    return tracee
