"""The core: takes classified stops, keeps engines, and says what is to be done with each thread.

The rules (PROTOCOL.md §4; utrace's before it):

- Engines are told in attach order, at the entry of a system call in reverse.
- An engine attached during a report does not see it: reports go over the engines as they stood.
- A thread runs only when no engine holds it.
- Of several wishes the smallest prevails: step, block_step, syscall, run.
- A hold goes with its engine.
- Every stop is answered by exactly one restart, listen or detach, in ``settle``, or by none while somebody holds it.
- SIGKILL and death beat everything: an action on a dying thread fails and is forgotten, its death comes by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from utraced.api import events
from utraced.api.events import Event
from utraced.model import exact_bytes, text_of
from utraced.syscalls.abi import from_audit
from utraced.syscalls.results import errno_name
from utraced.syscalls.siginfo import code_name, decode_siginfo
from utraced.syscalls.signals import signal_name

from . import lifecycle
from .actions import Action, Complete, Detach, Forget, Listen, Restart, SetOptions, Tell, Wish
from .capture import args_text
from .engine import Engine, Owner
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
from .trace import Trace
from .waiting import Waiter

SIGTRAP = 5
PID_MAX_LIMIT = 4_194_304
"""linux/include/linux/threads.h: there are no more threads than that."""
STEP_CODES = frozenset({1, 2, 3})
"""TRAP_BRKPT (a step over a system call), TRAP_TRACE, TRAP_BRANCH; an int3 of the program's own is SI_KERNEL."""


class Core:
    """All traced processes.

    ``open_target`` gives the memory of a new process.  With ``most`` tracees no further process is followed into;
    those that are traced are so with all threads, however many they make.  Actions gather in ``actions``; whoever
    calls takes them and carries them out in order.
    """

    def __init__(self, open_target: Callable[[int], Target], *, most: int = PID_MAX_LIMIT) -> None:
        self.open_target = open_target
        self.most = most
        self.processes: dict[int, Process] = {}
        self.tracees: dict[int, Tracee] = {}
        self.orphans = lifecycle.Orphans()
        self.traces: set[Trace] = set()
        self.waiters: list[Waiter] = []
        self.held_back = HeldBack()
        self.actions: list[Action] = []
        self._reactions: dict[type, Callable[[Tracee, Any], None]] = {
            SyscallStop: self._on_syscall,
            SignalStop: self._on_signal,
            GroupStop: self._on_group_stop,
            EventStop: self._on_event_stop,
            CloneStop: lambda tracee, stop: lifecycle.clone(self, tracee, stop),
            VforkDoneStop: self._on_vfork_done,
            ExitStop: self._on_exit,
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
        if type(stop) is ExecStop:
            self._on_exec(tracee, stop)
        else:
            self._reactions[type(stop)](tracee, stop)
        self.settle(tracee)

    def handle_syscall(self, stop: SyscallStop) -> Wish | None:
        """Take one syscall-stop; return how to restart the thread where that is all there is to do.

        The same as ``handle``, which it falls back on, without the detours: this is where the time goes.
        """
        tracee = self.tracees.get(stop.tid)
        if tracee is None or tracee.wishes or tracee.stop is not None or tracee.interrupting or self.waiters:
            self.handle(stop)
            return None
        process = tracee.process
        tracee.stop = stop
        self._on_syscall(tracee, stop)
        if tracee.holders or tracee.leaving or tracee.exits is not process.exits or self.held_back:
            self.settle(tracee)
            return None
        tracee.stop = None
        tracee.request = request = process.request
        return request

    # What is told

    def _on_syscall(self, tracee: Tracee, stop: SyscallStop) -> None:
        if stop.entering:
            tracee.entry = stop
            for engine in reversed(tracee.process.engines):
                if engine.trace is not None:
                    engine.trace.enter(tracee, stop)
                else:
                    self._report_syscall(engine, tracee, stop, stop)
            return
        entry = tracee.entry
        tracee.entry = None
        for engine in tracee.process.engines:
            if engine.trace is not None:
                event = engine.trace.leave(tracee, stop)
                if event is not None:
                    self.actions.append(Tell(engine.owner, event))
                    if engine.trace.block:
                        self.held_back.told(engine, tracee, event)
            elif entry is not None:
                self._report_syscall(engine, tracee, entry, stop)

    def _report_syscall(self, engine: Engine, tracee: Tracee, entry: SyscallStop, stop: SyscallStop) -> None:
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
        self.tell(engine, tracee, event, hold=wished or response == "hold")

    def _on_signal(self, tracee: Tracee, stop: SignalStop) -> None:
        stepping = tracee.stepping or tracee.request <= Wish.BLOCK_STEP
        if stepping and stop.signal == SIGTRAP and stop.code in STEP_CODES:
            # A step of ours is done, perhaps for an engine that has left since: never the program's own signal.
            tracee.entry = None
            for engine in tracee.process.engines:
                if engine.trace is not None:
                    # A step out of a system call passes the stop at its return (ptrace_report_syscall_exit).
                    unfinished = engine.trace.abandon(tracee, stop.time_ns)
                    if unfinished is not None:
                        self.tell_trace(engine, tracee, unfinished)
                if tracee.wishes.get(engine, Wish.RUN) <= Wish.BLOCK_STEP:
                    self.tell(engine, tracee, events.Step(pc=f"{stop.pc:#x}"), hold=True)
            tracee.signal = 0
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
                self.tell_trace(engine, tracee, event)
            else:
                self.tell(engine, tracee, event, hold=response == "hold")

    def _on_group_stop(self, tracee: Tracee, stop: GroupStop) -> None:
        if not tracee.group_stopped:
            tracee.group_stopped = True
            self._report(
                tracee, "job_control", lambda: events.JobControl(state="stopped", signal=signal_name(stop.signal))
            )

    def _on_event_stop(self, tracee: Tracee, stop: EventStop) -> None:
        if tracee.group_stopped:
            # In a group-stop the kernel tells its signal instead of SIGTRAP (do_jobctl_trap): so it is over.
            tracee.group_stopped = False
            self._report(tracee, "job_control", lambda: events.JobControl(state="continued"))

    def _on_vfork_done(self, tracee: Tracee, stop: VforkDoneStop) -> None:
        self._report(tracee, "vfork_done", lambda: events.VforkDone(child_pid=stop.child), traces=False)

    def _on_exit(self, tracee: Tracee, stop: ExitStop) -> None:
        self._report(tracee, "exit", lambda: events.Exit(status=stop.status), traces=False)

    def _on_exec(self, tracee: Tracee, stop: ExecStop) -> None:
        text = _path_members(stop.path)
        self._report(tracee, "exec", lambda: events.Exec(former_tid=stop.former_tid, **text))
        for engine in tracee.process.engines:
            if engine.hold_on_exec and engine not in tracee.holders:
                tracee.holders.append(engine)
                tracee.announce[engine] = "exec"

    def _report(self, tracee: Tracee, kind: str, make: Callable[[], Event], *, traces: bool = True) -> None:
        """Tell an event to every engine that wants its kind, and to every trace."""
        for engine in tracee.process.engines:
            if engine.trace is not None:
                if traces:
                    self.tell_trace(engine, tracee, make())
                continue
            response = engine.response(kind, tracee.tid)
            if response is not None:
                self.tell(engine, tracee, make(), hold=response == "hold")

    def tell(self, engine: Engine, tracee: Tracee, event: Event, *, hold: bool = False) -> None:
        """Tell an engine an event of a stopped thread; with ``hold`` it holds the thread from now."""
        stop = tracee.stop
        event.pid = tracee.process.pid
        event.tid = tracee.tid
        event.engine = engine.id
        event.time_ns = event.time_ns or (stop.time_ns if stop is not None else 0)
        if hold and not tracee.doomed:
            event.held = True
            tracee.wishes.pop(engine, None)
            tracee.announce.pop(engine, None)
            if engine not in tracee.holders:
                tracee.holders.append(engine)
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
            self.actions.append(Complete(waiter))

    def restart(self, tracee: Tracee) -> None:
        """Restart a stopped thread that nobody holds, as the smallest wish says, unless it is held back."""
        if self.held_back and tracee in self.held_back and not tracee.doomed:
            return
        process = tracee.process
        stop = tracee.stop
        if tracee.exits is not process.exits:
            tracee.exits = process.exits
            self.actions.append(SetOptions(tracee.tid, process.exits))
        tracee.stop = None
        if tracee.group_stopped and type(stop) is GroupStop:
            tracee.listening = True
            self.actions.append(Listen(tracee.tid))
            return
        wish = process.request
        if tracee.wishes:
            wish = min(wish, *tracee.wishes.values())
        # The trap of a step that is done may still wait behind a stop of ours (get_signal in kernel/signal.c).
        stepping = tracee.stepping or tracee.request <= Wish.BLOCK_STEP
        tracee.stepping = stepping and (type(stop) is EventStop or type(stop) is GroupStop)
        tracee.request = wish
        if type(stop) is ExitStop:
            lifecycle.doom(tracee)  # it does not stop again
        signal = tracee.signal if type(stop) is SignalStop else 0
        tracee.signal = 0
        self.actions.append(Restart(tracee.tid, wish, signal))

    def relieve(self, owner: Owner) -> None:
        """Restart the threads that were held back because ``owner`` read too slowly, unless others hold them."""
        for tracee in self.held_back.relieve(owner):
            if tracee.stop is not None and not tracee.holders and not tracee.leaving:
                self.restart(tracee)

    def _let_go(self, tracee: Tracee) -> None:
        """Detach a stopped thread; a signal on its way to it goes on its way."""
        self.actions.append(Detach(tracee.tid, tracee.signal if type(tracee.stop) is SignalStop else 0))
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
        if self.tracees.get(tracee.tid) is tracee:
            del self.tracees[tracee.tid]
        process.tracees.pop(tracee.tid, None)
        if not process.tracees and self.processes.get(process.pid) is process:
            del self.processes[process.pid]
            self.actions.append(Forget(process.pid))


def _path_members(path: bytes) -> dict[str, Any]:
    """Return the members that tell a path in an event."""
    text = text_of(path)
    return {"path": text, "path_bytes": exact_bytes(path, text)} if path else {}
