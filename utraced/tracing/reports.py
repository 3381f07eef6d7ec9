"""What each kind of stop is told as, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from utraced.api import events
from utraced.api.events import Event
from utraced.model import exact_bytes, text_of
from utraced.observing.capture import args_text
from utraced.syscalls.abi import from_audit
from utraced.syscalls.results import errno_name
from utraced.syscalls.siginfo import code_name, decode_siginfo
from utraced.syscalls.signals import signal_name

from . import changes, filtering, libraries, steps
from .actions import CaptureStack, Tell, Wish
from .engine import Engine
from .process import Tracee
from .stops import EventStop, ExecStop, ExitStop, GroupStop, SignalStop, SyscallStop, VforkDoneStop

if TYPE_CHECKING:
    from .core import Core


def syscall(core: Core, tracee: Tracee, stop: SyscallStop) -> None:
    """A system call begins, or returns."""
    if stop.entering:
        if stop.filtered and tracee.entry is not None:
            return  # told at the stop at its entry, after which comes the filter's (syscall_trace_enter, kernel/entry)
        if tracee.outcome is not None:
            changes.entered(tracee, stop)
        tracee.entry = stop
        if tracee.process.libraries:
            libraries.entered(tracee, stop)
        for engine in reversed(tracee.process.engines):
            trace = engine.trace
            if trace is not None:
                waiting = trace.waiting
                trace.enter(tracee, stop)
                if waiting and not trace.waiting:
                    filtering.begins(core, trace)
                if trace.stacks and (kept := tracee.entries.get(trace)) is not None:
                    core.actions.append(CaptureStack(tracee.tid, tracee.process.target, kept))
            else:
                _syscall(core, engine, tracee, stop, stop)
        return
    entry = tracee.entry
    tracee.entry = None
    if tracee.outcome is not None:
        changes.returned(core, tracee, stop)
    for engine in tracee.process.engines:
        if engine.trace is not None:
            event = engine.trace.leave(tracee, stop)
            if event is not None:
                core.actions.append(Tell(engine.owner, event))
                if engine.trace.block:
                    core.held_back.told(engine, tracee, event)
        elif entry is not None:
            _syscall(core, engine, tracee, entry, stop)
    if tracee.process.libraries and entry is not None:
        libraries.returned(core, tracee, entry, stop)
    if tracee.request <= Wish.BLOCK_STEP:
        steps.ended(core, tracee, stop.pc)
    if tracee.holders and entry is not None:
        stop.nr = entry.nr  # for who asks where the thread is


def _syscall(core: Core, engine: Engine, tracee: Tracee, entry: SyscallStop, stop: SyscallStop) -> None:
    kind, selection = ("syscall_entry", engine.entry) if stop.entering else ("syscall_exit", engine.exit)
    wished = tracee.wishes.get(engine) is Wish.SYSCALL
    abi = from_audit(entry.arch, entry.nr)
    response = engine.response(kind, tracee.tid) if selection.wants(abi, entry.nr) else None
    if response is None and not wished:
        return
    made = events.SyscallEntry if stop.entering else events.SyscallExit
    event = made(
        arch=abi.name,
        nr=entry.nr,
        name=abi.name_of(entry.nr),
        args=args_text(entry.args),
        pc=f"{stop.pc:#x}",
        sp=f"{stop.sp:#x}",
    )
    if isinstance(event, events.SyscallExit):
        event.result = stop.result
        event.errno = errno_name(-stop.result) if stop.failed else None
    core.tell(engine, tracee, event, hold=wished or response == "hold")


def signal(core: Core, tracee: Tracee, stop: SignalStop) -> None:
    """A signal is about to be delivered, or a step of ours is done."""
    if steps.is_trap(tracee, stop):
        tracee.entry = None
        tracee.signal = 0
        steps.ended(core, tracee, stop.pc)
        return
    tracee.signal = stop.signal
    for engine in tracee.process.engines:
        response = engine.response("signal", tracee.tid)
        if response is None and engine.trace is None:
            continue
        members = decode_siginfo(stop.info).members
        address = members.get("addr")
        event = events.Signal(
            signal=signal_name(stop.signal),
            code=code_name(stop.signal, stop.code),
            sender_pid=members.get("pid"),
            sender_uid=members.get("uid"),
            address=None if address is None else f"{address:#x}",
            info=stop.info,
        )
        if engine.trace is not None:
            core.tell_trace(engine, tracee, event)
        else:
            core.tell(engine, tracee, event, hold=response == "hold")


def group_stop(core: Core, tracee: Tracee, stop: GroupStop) -> None:
    """A thread takes part in a group-stop."""
    if not tracee.group_stopped:
        tracee.group_stopped = True
        name = signal_name(stop.signal)
        _report(core, tracee, "job_control", lambda: events.JobControl(state="stopped", signal=name))


def event_stop(core: Core, tracee: Tracee, _stop: EventStop) -> None:
    """A thread was interrupted, which nobody is told of, or its group-stop is over."""
    if tracee.group_stopped:
        # In a group-stop the kernel tells its signal instead of SIGTRAP (do_jobctl_trap): so it is over.
        tracee.group_stopped = False
        _report(core, tracee, "job_control", lambda: events.JobControl(state="continued"))


def vfork_done(core: Core, tracee: Tracee, stop: VforkDoneStop) -> None:
    """The child of a vfork has let its parent go on."""
    _report(core, tracee, "vfork_done", lambda: events.VforkDone(child_pid=stop.child), traces=False)


def exiting(core: Core, tracee: Tracee, stop: ExitStop) -> None:
    """A thread is about to end."""
    _report(core, tracee, "exit", lambda: events.Exit(status=stop.status), traces=False)


def execed(core: Core, tracee: Tracee, stop: ExecStop) -> None:
    """A thread has a new program, which has not run yet."""
    text = text_of(stop.path)
    path: dict[str, Any] = {"path": text, "path_bytes": exact_bytes(stop.path, text)} if stop.path else {}
    _report(core, tracee, "exec", lambda: events.Exec(former_tid=stop.former_tid, **path))
    for engine in tracee.process.engines:
        if engine.hold_on_exec and engine not in tracee.holders:
            tracee.holders.append(engine)
            tracee.announce[engine] = "exec"


def _report(core: Core, tracee: Tracee, kind: str, make: Callable[[], Event], *, traces: bool = True) -> None:
    """Tell an event to every engine that wants its kind, and to every trace."""
    for engine in tracee.process.engines:
        if engine.trace is not None:
            if traces:
                core.tell_trace(engine, tracee, make())
            continue
        response = engine.response(kind, tracee.tid)
        if response is not None:
            core.tell(engine, tracee, make(), hold=response == "hold")
