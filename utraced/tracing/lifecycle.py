"""How threads and processes come and go: clone, exec, death, and the races between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, cast

from utraced.api import events
from utraced.model import Status

from .actions import AwaitReap, Detach, Retire, Tell
from .engine import Engine
from .orphans import RECENT_NS, Origin
from .process import Process, Tracee
from .stops import AnyStop, CloneStop, Death, EventStop, ExecStop, GroupStop, SignalStop
from .waiting import Doubt

if TYPE_CHECKING:
    from .core import Core


def unknown(core: Core, stop: AnyStop) -> None:
    """Take a stop of a thread we do not know: a new one, to be kept until its parent tells, or one not to be kept."""
    if type(stop) is EventStop or type(stop) is GroupStop:  # the latter where its process was just being stopped
        core.orphans.departed.pop(stop.tid, None)  # another life of that tid
        core.orphans.stops[stop.tid] = stop
    else:
        core.actions.append(Detach(stop.tid, stop.signal if type(stop) is SignalStop else 0))
        core.orphans.depart(stop.tid, stop.time_ns, None)


def origin(core: Core, tid: int, found: Origin | None, siblings: Iterable[int] = ()) -> None:
    """Take what /proc says of an orphan, None where it is gone.

    It waits for its parent's word, so that nothing is told of it before its clone.  One whose parent is not traced, or
    is gone, would wait for ever: it is let go.  (A thread's parent always tells, or is killed together with it.)  But
    with CLONE_PARENT its maker is a child of the same parent: one of the ``siblings``, traced processes of that parent,
    may still be about to tell.  Who has stopped since for anything else is not.
    """
    if tid not in core.orphans.stops or found is None:
        return
    core.orphans.origins[tid] = found
    parent = core.processes.get(found.ppid if found.tgid == tid else found.tgid)
    if parent is not None:
        if found.tgid != tid or core.orphans.stops[tid].time_ns - parent.killed_ns > RECENT_NS:
            return
        # An exec has just killed threads of it, and with them perhaps the word of who has made this one.
        siblings = [parent.pid]
    tracees = [tracee for pid in siblings for tracee in core.processes[pid].tracees.values()]
    suspects = [tracee for tracee in tracees if not tracee.stopped and not tracee.listening]
    if not suspects:
        let_orphan_go(core, tid)
        return
    core.waiters.append(Doubt(tid, [tracee.tid for tracee in suspects]))
    for tracee in suspects:
        core.interrupt(tracee)


def let_orphan_go(core: Core, tid: int) -> None:
    """Let go of an orphan that nobody will tell of, unless it was told of after all, or is bound, or has a parent."""
    stop = core.orphans.stops.get(tid)
    found = core.orphans.origins.get(tid)
    parent = core.processes.get(found.ppid) if found is not None else None
    if stop is not None and parent is not None and parent.tracees:
        heir = next(iter(parent.tracees.values()))
        times = (each.stop.time_ns for each in parent.tracees.values() if each.stop is not None)
        clone(core, heir, CloneStop(heir.tid, max(stop.time_ns, *times), 0, tid, "fork", False))
    elif stop is not None and core.filters and found is not None and found.filtered:
        # It is a child of a process that was bound, and was killed before it could tell: its calls would fail.
        child, _ = follow(core, tid, (), filters=1)
        adopt(core, child)
    elif stop is not None:
        core.actions.append(Detach(tid))
        core.orphans.depart(tid, stop.time_ns, None)


def clone(core: Core, tracee: Tracee, stop: CloneStop) -> None:
    """A thread made another thread or process: follow it, or let it go at its first stop."""
    process = tracee.process
    end = core.orphans.end_of(stop)
    if end is None or stop.child in core.tracees:
        tell_clone(core, tracee, stop, {})
        return
    children: dict[Engine, Engine] = {}
    refused = False
    if stop.is_thread:
        child = Tracee(stop.child, process)
        child.leaving = not process.engines and not process.bound
        for engine in tracee.holders:
            # A hold on all threads that this one had not come to yet when it made another: nobody slips past.
            if all(engine in other.holders or other.doomed for other in process.tracees.values()):
                child.holders.append(engine)
                child.announce[engine] = "requested"
    else:
        # One that is bound stays traced in any case: its calls would fail.
        refused = len(core.tracees) >= core.most
        child, children = follow(core, stop.child, [] if refused else process.engines, filters=process.filters)
    child.exits = tracee.exits  # a new thread inherits its parent's ptrace options
    tell_clone(core, tracee, stop, children, refused=refused)
    adopt(core, child)
    if type(end) is Death:  # it was killed before it was told of
        death(core, end)


def tell_clone(
    core: Core, tracee: Tracee, stop: CloneStop, children: dict[Engine, Engine], *, refused: bool = False
) -> None:
    """Tell the engines of a new thread or process, each with its own engine in the child.

    An engine that follows is told of its child's engine whatever events it chose: it could not name it otherwise.  And
    it is told where there is none, as too much is traced already (``refused``).
    """
    for engine in tracee.process.engines:
        response = engine.response("clone", tracee.tid)
        child = children.get(engine)
        missing = refused and engine.follow
        if response is None and child is None and engine.trace is None and not missing:
            continue
        event = events.Clone(
            how=cast(Literal["thread", "fork", "vfork"], stop.how),
            child_pid=tracee.process.pid if stop.is_thread else stop.child,
            child_tid=stop.child,
            child_engine=child.id if child is not None and child.trace is None else None,
            untraced="limit_exceeded" if missing else None,
            time_ns=stop.time_ns,
        )
        if engine.trace is not None:
            core.tell_trace(engine, tracee, event)
        else:
            core.tell(engine, tracee, event, hold=response == "hold")


def follow(core: Core, pid: int, engines: Iterable[Engine], *, filters: int) -> tuple[Tracee, dict[Engine, Engine]]:
    """Make the process of a new child, with an engine for each of its parent's ``engines`` that follows."""
    process = Process(pid, core.open_target(pid))
    process.filters = filters
    children: dict[Engine, Engine] = {}
    for engine in engines:
        if not engine.follow:
            continue
        child = engine.child(process)
        if engine.trace is not None:
            engine.trace.processes += 1
        else:
            child.id = engine.owner.engine_id(child)
        process.engines.append(child)
        children[engine] = child
    process.refresh()
    tracee = Tracee(pid, process)
    tracee.leaving = not process.engines and not process.bound
    for child in process.engines:
        if child.hold:
            tracee.holders.append(child)
            tracee.announce[child] = "attached"
    core.processes[pid] = process
    return tracee, children


def adopt(core: Core, tracee: Tracee) -> None:
    """Make a new thread known; its first stop may have come already."""
    core.tracees[tracee.tid] = tracee
    tracee.process.tracees[tracee.tid] = tracee
    core.orphans.origins.pop(tracee.tid, None)
    stop = core.orphans.stops.pop(tracee.tid, None)
    if stop is not None:
        core.handle(stop)


def execed(core: Core, stop: ExecStop) -> Tracee | None:
    """Return the thread that has exec'd, under its new tid: the process's, whose other threads are gone.

    The kernel tells nothing of the end of a leader whose tid was taken over, nor of a former tid (ptrace(2),
    "execve(2) under ptrace").
    """
    leader = core.tracees.get(stop.tid)
    tracee = core.tracees.get(stop.former_tid, leader)
    if tracee is None:
        return None
    process = tracee.process
    for other in list(process.tracees.values()):
        if other is not tracee:
            successor = stop.former_tid if other is leader else None
            _bury(core, other, stop.time_ns, None, successor=successor)
            core.settle_waiters(other.tid)
    if tracee.tid != stop.tid:
        core.tracees.pop(tracee.tid, None)
        process.tracees.pop(tracee.tid, None)
        core.settle_waiters(tracee.tid)
        tracee.tid = stop.tid
        core.tracees[stop.tid] = tracee
        process.tracees[stop.tid] = tracee
        for engine in process.engines:
            own = engine.thread_events.pop(stop.former_tid, None)
            if own is not None:
                engine.thread_events[stop.tid] = own
        process.killed_ns = stop.time_ns
    inherit(core, tracee, stop.time_ns)
    process.target.renew()
    return tracee


def doom(tracee: Tracee) -> None:
    """Note that a thread is being killed: nobody holds it from now on."""
    tracee.doomed = True
    tracee.holders.clear()
    tracee.wishes.clear()
    tracee.awaiting.clear()
    tracee.announce.clear()


def death(core: Core, stop: Death) -> None:
    """A thread is gone."""
    tracee = core.tracees.get(stop.tid)
    if tracee is None:
        core.orphans.depart(stop.tid, stop.time_ns, stop)
        return
    process = tracee.process
    if stop.tid == process.pid:
        process.status = stop.status
        # A leader's end is told when it is the last one.  A thread that we still know then had taken over the leader's
        # tid by an exec, and was killed before we heard of it.
        for other in [other for other in process.tracees.values() if other is not tracee]:
            _bury(core, other, stop.time_ns, None)
            core.settle_waiters(other.tid)
    doom(tracee)
    if stop.status.signal == "SIGKILL":
        process.killed_ns = stop.time_ns
    if len(process.tracees) == 1:
        inherit(core, tracee, stop.time_ns)
    _bury(core, tracee, stop.time_ns, stop.status)
    core.settle_waiters(stop.tid)


def inherit(core: Core, tracee: Tracee, time_ns: int) -> None:
    """Tell of children whose parent was killed, or swallowed by an exec, before it could: nobody else is left to."""
    for tid in core.orphans.of(tracee.process.pid):
        clone(core, tracee, CloneStop(tracee.tid, time_ns, 0, tid, "fork", False))


def _bury(core: Core, tracee: Tracee, time_ns: int, status: Status | None, *, successor: int | None = None) -> None:
    """Tell of a thread's end and forget it; with the last of its process, the engines end too.

    ``status`` is None where an exec swallowed the thread, which is then not the last; ``successor`` took over its tid.
    """
    process = tracee.process
    tracee.stop = None
    last = status is not None and len(process.tracees) == 1
    for engine in process.engines:
        wanted = engine.response("death", tracee.tid) is not None
        if not last:
            engine.thread_events.pop(tracee.tid, None)
        event = events.Death(status=status, last=last, successor_tid=successor)
        event.time_ns = time_ns
        trace = engine.trace
        if trace is not None:
            unfinished = trace.abandon(tracee, time_ns)
            if unfinished is not None:
                core.tell_trace(engine, tracee, unfinished)
            core.tell_trace(engine, tracee, event)
        elif wanted:
            core.tell(engine, tracee, event)
    if last:
        for engine in list(process.engines):
            if engine.trace is not None or engine.response("reap", process.pid) is None:
                end(core, engine, "target_exited", time_ns)
        if process.engines:
            core.unreaped.append(process)
            core.actions.append(AwaitReap(process))
    core.drop(tracee)


def reaped(core: Core, process: Process, time_ns: int) -> None:
    """A process that has ended is no zombie any more: tell those that wait for that, whose engines end with it."""
    if process in core.unreaped:
        for engine in list(process.engines):
            event = events.Reap(pid=process.pid, tid=process.pid, engine=engine.id, time_ns=time_ns)
            core.actions.append(Tell(engine.owner, event))
            end(core, engine, "target_exited", time_ns)


def end(
    core: Core,
    engine: Engine,
    reason: Literal["client_request", "session_closed", "target_exited", "daemon_stopping"],
    time_ns: int,
) -> None:
    """End an engine and tell its owner; a trace ends with the last of its processes."""
    process = engine.process
    if engine in process.engines:
        process.engines.remove(engine)
        if not process.engines and process in core.unreaped:
            core.unreaped.remove(process)
    trace = engine.trace
    event = events.Detached(reason=reason, status=process.status, pid=process.pid, tid=process.pid, time_ns=time_ns)
    if trace is None:
        event.engine = engine.id
    else:
        trace.processes -= 1
        if trace.processes:
            return
        core.traces.discard(trace)
        if not trace.id:
            return  # whoever asked for it was refused
        event.trace = trace.id
    core.actions.append(Tell(engine.owner, event))
    core.actions.append(Retire(engine))
