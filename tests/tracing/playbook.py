"""Playbooks: a real core, told stops by hand; what it does comes back as lines of text, exactly and in order.

``assert play << entering(10, "getpid") == ["restart 10 syscall"]``: a mismatch is shown by pytest line by line.
An action is written ``restart 10 run 15`` (the wish, then the signal if any), ``listen 10``, ``interrupt 10``,
``options 10 exits``, ``detach 10``, ``abort 10 x86_64 -1``, ``make 10 x86_64 39 0x401000 1 2`` (a call's number, return
address and arguments), ``complete``, ``forget 10``, ``retire A``; an event that is told ``A: exec 10 former_tid=10
path=/bin/true held`` (who is told, kind, tid, members, whether it holds now).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from utraced.api.events import Event
from utraced.model import Holder, Status
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace
from utraced.syscalls.abi import ABIS
from utraced.tracing import control
from utraced.tracing.actions import (
    AbortCall,
    Action,
    AwaitReap,
    Capture,
    CaptureStack,
    ChangeCall,
    Complete,
    Detach,
    Forget,
    Interrupt,
    Listen,
    MakeCall,
    Restart,
    Retire,
    SetOptions,
    SetResult,
    SetSignal,
    Tell,
    Wish,
)
from utraced.tracing.changes import CallChange, SignalChange
from utraced.tracing.core import Core
from utraced.tracing.engine import Engine
from utraced.tracing.process import Process, Tracee
from utraced.tracing.stops import (
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
from utraced.tracing.waiting import Waiter

X86_64 = ABIS["x86_64"]
PC, SP = 0x401000, 0x7FFC0000
HIDDEN = {"kind", "seq", "time_ns", "pid", "tid", "engine", "trace", "held", "pc", "sp", "args", "arch", "nr", "info"}
"""Members that a line leaves out; ``Playbook.events`` has them."""


class FakeTarget:
    """A process's memory: what was put into it, and the files in it, by address; everything else is unmapped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.renewed = 0
        self.contents: dict[int, bytes] = {}
        self.files: dict[int, tuple[bytes, int]] = {}

    def file_at(self, address: int) -> tuple[bytes, int] | None:
        return self.files.get(address)

    def read(self, address: int, size: int) -> bytes:
        for start, data in self.contents.items():
            if start <= address < start + len(data):
                return data[address - start :][:size]
        return b""

    def string(self, address: int, limit: int) -> tuple[bytes, bool]:
        head, end, _ = self.read(address, limit + 1).partition(b"\0")
        return head[:limit], bool(end)

    def write(self, address: int, data: bytes) -> bool:
        for start, old in self.contents.items():
            if start <= address and address + len(data) <= start + len(old):
                at = address - start
                self.contents[start] = old[:at] + data + old[at + len(data) :]
                return True
        return False

    def renew(self) -> None:
        self.renewed += 1

    def start_time(self) -> int:
        return self.pid * 100


class FakeOwner:
    """A session that gives its engines ids and is otherwise silent."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.holder = Holder(session=session)
        self.engines: dict[int, Engine] = {}
        self.last_id = 0

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def tell(self, event: Event) -> None:
        raise AssertionError("the core tells nobody by itself")

    def retire(self, engine: Engine) -> None:
        raise AssertionError("the core retires no engine by itself")

    def engine_id(self, engine: Engine) -> int:
        number = self.new_id()
        self.engines[number] = engine
        return number

    def congested(self) -> bool:
        return False


class Playbook:
    """A core with named engines and traces, one session each.

    ``detaches``: whether PTRACE_DETACH works; ``trap_waits``: whether the trap of a step waits where it might.
    """

    def __init__(self) -> None:
        self.core = Core(self._open)
        self.targets: dict[int, FakeTarget] = {}
        self.names: dict[int, str] = {}
        self.owners: dict[str, FakeOwner] = {}
        self.events: list[Event] = []
        self.completed: list[Waiter] = []
        self.detaches = True
        self.trap_waits = False

    def _open(self, pid: int) -> FakeTarget:
        self.targets[pid] = FakeTarget(pid)
        return self.targets[pid]

    def __lshift__(self, stop: AnyStop) -> list[str]:
        """Give the core a stop; return what it does."""
        if isinstance(stop, SyscallStop):
            wish = self.core.handle_syscall(stop)
            done = self.done()
            return [*done, f"restart {stop.tid} {wish.name.lower()}"] if wish is not None else done
        self.core.handle(stop)
        return self.done()

    def done(self) -> list[str]:
        """Take what the core has done since last asked."""
        lines: list[str] = []
        for action in self.core.take():
            lines.append(self._line(action))
            if isinstance(action, Detach) and self.detaches and not (action.stepping and self.trap_waits):
                self.core.detached(action.tid)
                lines += self.done()
        return lines

    # Setting a scene

    def seize(self, pid: int, *others: int) -> Process:
        """Attach to a process, with ``others`` besides its leader, as the tracer does."""
        process = self.core.processes.get(pid) or Process(pid, self._open(pid))
        for tid in (pid, *others):
            control.adopt_thread(self.core, process, tid)
        self.core.processes[pid] = process
        return process

    def engine(self, name: str, pid: int, session: str | None = None, **settings: Any) -> Engine:
        """Make an engine that is not attached yet, of the session of the same name, or of ``session``."""
        owner = self.owner(session or name)
        engine = Engine(owner, self.core.processes[pid], **settings)
        engine.id = owner.engine_id(engine)
        self.names[id(engine)] = name
        return engine

    def attach(self, name: str, pid: int, **settings: Any) -> Engine:
        """Attach an engine to a seized process; ``done`` tells the actions."""
        engine = self.engine(name, pid, **settings)
        control.attach(self.core, engine)
        return engine

    def trace(self, name: str, pid: int, words: Iterable[str] = ("all",), **settings: Any) -> Trace:
        """Start a trace of a seized process."""
        owner = self.owner(name)
        trace = Trace(owner, Selection(words), **settings)
        trace.id = owner.new_id()
        trace.processes = 1
        self.names[id(trace)] = name
        engine = Engine(owner, self.core.processes[pid], events={}, follow=trace.follow, trace=trace)
        control.attach(self.core, engine)
        return trace

    def running(self, pid: int, *others: int, **engines: Any) -> dict[str, Engine]:
        """Return engines by name, of which the settings are given, on a process all of whose threads run."""
        self.seize(pid, *others)
        made = {name: self.attach(name, pid, **settings) for name, settings in engines.items()}
        for tid in (pid, *others):
            self << interrupted(tid)
        self.done()
        self.events.clear()
        return made

    def owner(self, name: str) -> FakeOwner:
        return self.owners.setdefault(name, FakeOwner(len(self.owners) + 1))

    def tracee(self, tid: int) -> Tracee:
        return self.core.tracees[tid]

    # What sessions ask

    def hold(self, engine: Engine, *tids: int, announce: bool = False) -> list[str]:
        tracees = [self.tracee(tid) for tid in tids] or list(engine.process.tracees.values())
        control.hold(self.core, engine, tracees, announce=announce)
        return self.done()

    def resume(
        self,
        engine: Engine,
        tid: int,
        wish: Wish = Wish.RUN,
        *,
        signal: int | None = None,
        info: bytes | None = None,
        call: CallChange | None = None,
    ) -> list[str]:
        change = call if signal is None and info is None else SignalChange(signal, info)
        running = control.resume(self.core, engine, [self.tracee(tid)], wish, change)
        return [*self.done(), *([] if running else ["still held"])]

    def detach(self, engine: Engine, reason: Any = "client_request") -> list[str]:
        control.detach(self.core, engine, reason, 99)
        return self.done()

    def end(self, trace: Trace) -> list[str]:
        """End a trace in all its processes, as trace.stop does."""
        for process in list(self.core.processes.values()):
            for engine in [engine for engine in process.engines if engine.trace is trace]:
                control.detach(self.core, engine, "client_request", 99)
        return self.done()

    # Lines

    def name(self, engine: Engine) -> str:
        """Return an engine's name; one made by following is called after its session and process."""
        if engine.trace is not None:
            return self.names[id(engine.trace)]
        session = next(name for name, owner in self.owners.items() if owner is engine.owner)
        return self.names.get(id(engine)) or f"{session}/{engine.process.pid}"

    def _line(self, action: Action) -> str:
        match action:
            case Restart(tid, wish, signal, calls):
                return f"restart {tid} {wish.name.lower()}" + (f" {signal}" if signal else "") + " calls" * calls
            case SetSignal(tid, info):
                return f"info {tid} {info[:4].hex()}"
            case ChangeCall(tid, abi, nr, args):
                return " ".join([f"call {tid} {abi} {nr}", *map(str, args)])
            case AbortCall(tid, abi, result):
                return f"abort {tid} {abi} {result}"
            case SetResult(tid, result):
                return f"result {tid} {result}"
            case SetOptions(tid, exits, bound):
                return f"options {tid} {'exits' if exits else 'no exits'}" + " bound" * bound
            case MakeCall(tid, abi, nr, pc, args):
                return " ".join([f"make {tid} {abi} {nr}", f"{pc:#x}", *map(str, args)])
            case Detach(tid, signal, stepping):
                return f"detach {tid}" + (f" {signal}" if signal else "") + " stepping" * stepping
            case Listen(tid) | Interrupt(tid) | Forget(tid):
                return f"{type(action).__name__.lower()} {tid}"
            case Capture(tid):
                return f"registers {tid}"
            case CaptureStack(tid):
                return f"stack {tid}"
            case AwaitReap(process):
                return f"await {process.pid}"
            case Retire(engine):
                return f"retire {self.name(engine)}"
            case Complete(waiter):
                self.completed.append(waiter)
                return "complete"
            case Tell(owner, event):
                self.events.append(event)
                return self._told(owner, event)

    def _told(self, owner: Any, event: Event) -> str:
        name = next(name for name, known in self.owners.items() if known is owner)
        if event.engine is not None:
            name = self.name(owner.engines[event.engine])
        members = msgspec.to_builtins(event)
        words = [f"{key}={_word(value)}" for key, value in members.items() if key not in HIDDEN]
        return " ".join([f"{name}:", members["kind"], str(event.tid), *words, *(["held"] if event.held else [])])


def _word(value: Any) -> str:
    if isinstance(value, dict) and value.keys() <= {"code", "signal", "core_dumped"}:
        return str(value.get("signal", value.get("code")))
    return str(value)


# Stops, at a time that goes on by itself

_clock = iter(range(1000, 1 << 60))


def now() -> int:
    """Return a time later than every one before."""
    return next(_clock)


def entering(tid: int, name: str = "getpid", *args: int, at: int = 0) -> SyscallStop:
    number = X86_64.numbers[name]
    return SyscallStop(tid, at or now(), PC, True, X86_64.arch, SP, number, (*args, 0, 0, 0, 0, 0, 0)[:6])


def filtered(tid: int, name: str = "getpid", *args: int) -> SyscallStop:
    """Where a seccomp filter has stopped a call."""
    stop = entering(tid, name, *args)
    stop.filtered = True
    return stop


def leaving(tid: int, result: int = 0, at: int = 0) -> SyscallStop:
    return SyscallStop(tid, at or now(), PC, False, X86_64.arch, SP, result=result, failed=-4096 < result < 0)


def signalled(tid: int, signal: int, code: int = 0, rest: bytes = b"") -> SignalStop:
    """A signal-delivery-stop; ``code`` is si_code, 0 (SI_USER) with a sender's pid and uid in ``rest``."""
    info = struct.pack("<iiiI", signal, 0, code, 0) + rest
    return SignalStop(tid, now(), PC, signal, info.ljust(128, b"\0"))


def stepped(tid: int, code: int = 2) -> SignalStop:
    return signalled(tid, 5, code)


def interrupted(tid: int) -> EventStop:
    """PTRACE_EVENT_STOP with SIGTRAP: also a new thread's first stop, and the end of a group-stop."""
    return EventStop(tid, now(), PC)


def group_stopped(tid: int, signal: int = 19) -> GroupStop:
    return GroupStop(tid, now(), PC, signal)


def cloned(tid: int, child: int) -> CloneStop:
    return CloneStop(tid, now(), PC, child, "thread", True)


def forked(tid: int, child: int, how: str = "fork") -> CloneStop:
    return CloneStop(tid, now(), PC, child, how, False)


def vfork_done(tid: int, child: int) -> VforkDoneStop:
    return VforkDoneStop(tid, now(), PC, child)


def execed(tid: int, former_tid: int | None = None, path: bytes = b"/bin/true") -> ExecStop:
    return ExecStop(tid, now(), PC, tid if former_tid is None else former_tid, path)


def exiting(tid: int, code: int = 0) -> ExitStop:
    return ExitStop(tid, now(), PC, Status(code=code))


def killed(tid: int) -> ExitStop:
    return ExitStop(tid, now(), PC, Status(signal="SIGKILL"))


def dead(tid: int, code: int = 0, signal: str | None = None) -> Death:
    status = Status(code=code) if signal is None else Status(signal=signal, core_dumped=False)
    return Death(tid, now(), 0, status)
