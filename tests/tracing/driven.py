"""A core on the fake kernel: its stops are collected and its actions carried out, as the tracer does it."""

from __future__ import annotations

from typing import Any

from utraced.api import events
from utraced.tracing import lifecycle
from utraced.tracing.actions import (
    AbortCall,
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
)
from utraced.tracing.core import Core
from utraced.tracing.engine import Engine
from utraced.tracing.orphans import Origin
from utraced.tracing.process import Process
from utraced.tracing.stops import EventStop, ExecStop, SignalStop, SyscallStop
from utraced.tracing.waiting import Doubt

from .fake_kernel import Kernel, Thread
from .playbook import SP, FakeTarget

STACK = 1024


class Driven:
    """A core, the kernel that it drives, and what it has done: the engines whose end was told, and the zombies."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel()
        self.core = Core(self.open)
        self.ended: set[tuple[int, int]] = set()
        self.zombies: list[Process] = []
        self.stops = 0
        self.answers = 0

    def told(self, owner: Any, event: events.Event) -> None:
        """Check an event that is told."""
        raise NotImplementedError

    @staticmethod
    def open(pid: int) -> FakeTarget:
        """Return the memory of a process, with a stack."""
        target = FakeTarget(pid)
        target.contents[SP - STACK // 2] = bytes(STACK)
        return target

    @staticmethod
    def key(engine: Engine) -> tuple[int, int]:
        return engine.owner.session, engine.id if engine.trace is None else engine.trace.id

    def collect(self, thread: Thread) -> None:
        tid = thread.tid
        stop = self.kernel.wait(thread)
        self.stops += 1
        if isinstance(stop, SyscallStop):
            wish = self.core.handle_syscall(stop)
            self.perform()
            if wish is not None:
                self.restart(Restart(tid, wish))
            return
        self.core.handle(stop)
        if isinstance(self.core.orphans.stops.get(tid), EventStop) and tid not in self.core.orphans.origins:
            child = self.kernel.threads.get(tid)
            found, siblings = None, []
            if child is not None and child.state != "gone":
                parent = child.process.parent
                found = Origin(child.process.pid, parent, child.filtered)
                siblings = [pid for pid in self.core.processes if self.kernel.threads[pid].process.parent == parent]
            lifecycle.origin(self.core, tid, found, siblings)
        self.perform()

    def looks(self) -> None:
        """Take the execs that wait to be told: who made them has the tid of a leader that may be held."""
        for thread in self.kernel.ready():
            if isinstance(thread.stop, ExecStop):
                self.collect(thread)

    def perform(self) -> None:
        kernel = self.kernel
        for action in self.core.take():
            match action:
                case Restart():
                    self.restart(action)
                case Listen(tid):
                    self.answers += 1
                    self.check_free(tid)
                    kernel.listen(tid)
                case Interrupt(tid):
                    kernel.interrupt(tid)
                case SetOptions(tid, exits, bound):
                    kernel.set_options(tid, exits, bound)
                case SetSignal(tid, _):
                    kernel.change(tid, SignalStop)
                case ChangeCall(tid, _, nr):
                    kernel.force(tid, nr)
                case MakeCall(tid, _, nr, _, args):
                    kernel.make(tid, nr, args[0])
                case AbortCall(tid) | SetResult(tid):
                    kernel.change(tid, SyscallStop)
                case Detach(tid, _, stepping):
                    self.check_free(tid)
                    if kernel.detach(tid, stepping=stepping):
                        self.core.detached(tid)
                        self.perform()
                case Tell(owner, event):
                    self.told(owner, event)
                case Retire(engine):
                    owner, number = engine.owner, engine.id if engine.trace is None else engine.trace.id
                    assert (owner.session, number) in self.ended
                case Capture(tid) | CaptureStack(tid):
                    thread = kernel.threads[tid]
                    assert thread.state == "trapped" or thread.dying, f"{thread} is asked for its registers"
                case AwaitReap(process):
                    self.zombies.append(process)
                case Complete(waiter):
                    assert not waiter.outstanding
                case Forget(pid):
                    assert pid not in self.core.processes

    def restart(self, action: Restart) -> None:
        self.answers += 1
        thread = self.kernel.threads.get(action.tid)
        if thread is None or not (thread.forced or thread.again):  # it comes to a call of its own at once
            self.check_free(action.tid)
        self.kernel.restart(action.tid, action.wish, action.signal, calls=action.calls)

    def check_free(self, tid: int) -> None:
        tracee = self.core.tracees.get(tid)
        assert tracee is None or not tracee.holders, f"{tid} goes on while it is held"

    def check_stopped(self) -> None:
        for thread in self.kernel.living():
            if not thread.traced or thread.state != "trapped" or not thread.told:
                continue
            assert thread.dying is None or thread.dying.signal != "SIGKILL", f"{thread} is held though it is killed"
            tracee = self.core.tracees.get(thread.tid)
            if tracee is None:
                assert thread.tid in self.core.orphans.stops, f"{thread} is forgotten"
                doubted = any(isinstance(waiter, Doubt) and waiter.orphan == thread.tid for waiter in self.core.waiters)
                told = doubted or self.kernel.will_be_told_of(thread)
                assert told, f"{thread} waits for a parent that does not tell"
            else:
                assert tracee.stopped, f"{thread} is taken to run"
                assert tracee.holders, f"{thread} is held by nobody"
