"""Whatever threads do and engines ask, in any order: the core keeps its rules."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from utraced.api import events
from utraced.api.engine import EventName
from utraced.errors import Contended, NotHeld
from utraced.model import Status
from utraced.tracing import control, lifecycle
from utraced.tracing.actions import (
    AbortCall,
    AwaitReap,
    Capture,
    ChangeCall,
    Complete,
    Detach,
    Forget,
    Interrupt,
    Listen,
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
from utraced.tracing.process import Process
from utraced.tracing.selection import Selection
from utraced.tracing.stops import EventStop, ExecStop, SignalStop, SyscallStop
from utraced.tracing.trace import Trace

from . import playbook
from .fake_kernel import Kernel, Thread
from .playbook import FakeOwner, FakeTarget

KINDS = list(get_args(EventName))
MASKS = st.dictionaries(st.sampled_from(KINDS), st.sampled_from(["report", "hold"]), max_size=5)
ACTS = [
    *["call"] * 8,
    "step",
    "step",
    *["signal", "stop", "continue", "thread", "fork"] * 2,
    "exec",
    "exit",
    "exit_group",
]
PICKS = st.integers(0, 1 << 16)
CHANGES = st.none() | st.sampled_from(
    [
        *(SignalChange(number) for number in (0, 10, 15)),
        SignalChange(None, bytes(128)),
        CallChange(abort=True),
        CallChange(result=5),
        CallChange(nr="getppid"),
    ]
)
SETTINGS = ["hold", "hold_on_exec", "follow", "registers"]
TRACEES_AT_MOST = 12


class Machine(RuleBasedStateMachine):
    """Three sessions on the processes of a fake kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel()
        self.core = Core(FakeTarget)
        self.owners = [FakeOwner(number) for number in (1, 2, 3)]
        self.engines: list[Engine] = []
        self.known: set[tuple[int, int]] = set()
        self.ended: set[tuple[int, int]] = set()
        self.last_told: dict[tuple[int, int, int], int] = {}
        self.children: set[tuple[int, int, int]] = set()
        self.zombies: list[Process] = []

    @initialize(threads=st.integers(0, 2))
    def begin(self, threads: int) -> None:
        process = self.kernel.new_process().process
        for _ in range(threads):
            self.kernel.new_thread(process)

    # The kernel's side

    def pick(self, pick: int) -> Thread | None:
        """Return a thread that can do something by itself; None where there is none."""
        able = [thread for thread in self.kernel.living() if self.kernel.can_act(thread)]
        return able[pick % len(able)] if able else None

    @rule(acts=st.lists(st.tuples(PICKS, st.sampled_from(ACTS), st.booleans()), min_size=1, max_size=4))
    def threads_act(self, acts: list[tuple[int, str, bool]]) -> None:
        for pick, what, late in acts:
            thread = self.pick(pick)
            if thread is not None:
                self.act(thread, what, late)

    def act(self, thread: Thread, what: str, late: bool) -> None:
        """Let a thread do something; ``late``: it is past the point where it would see that it is interrupted."""
        kernel, process = self.kernel, thread.process
        if what == "signal":
            thread.signals.append(10)
        elif what == "stop":
            thread.signals.append(19)
        elif what == "continue":
            kernel.continue_group(process)
        elif (thread.newborn or not late) and kernel.pending(thread):
            return
        elif what == "call":
            kernel.call(thread)
        elif what == "step":
            kernel.step(thread)
        elif what in {"thread", "fork"}:
            if len(kernel.living()) < TRACEES_AT_MOST:
                kernel.clone(thread, what)
        elif what == "exec":
            if not any(other.execing for other in process.threads.values()):
                kernel.exec(thread)
        elif what == "exit":
            kernel.begin_exit(thread, Status(code=0))
        elif what == "exit_group":
            kernel.kill_all(process, Status(code=1))

    @rule(pick=PICKS)
    def is_killed(self, pick: int) -> None:
        living = self.kernel.living()
        if living:
            self.kernel.kill_all(living[pick % len(living)].process, Status(signal="SIGKILL"))

    @rule()
    def is_reaped(self) -> None:
        if self.zombies:
            lifecycle.reaped(self.core, self.zombies.pop(0), playbook.now())
            self.perform()

    @rule()
    def is_born(self) -> None:
        if len(self.kernel.living()) < TRACEES_AT_MOST:
            self.begin(1)

    # The tracer's side

    @rule(picks=st.lists(PICKS, min_size=1, max_size=6))
    def collects(self, picks: list[int]) -> None:
        for pick in picks:
            ready = self.kernel.ready()
            if ready:
                self.collect(ready[pick % len(ready)])

    def collect(self, thread: Thread) -> None:
        tid = thread.tid
        stop = self.kernel.wait(thread)
        if isinstance(stop, SyscallStop):
            wish = self.core.handle_syscall(stop)
            self.perform()
            if wish is not None:
                self.restart(Restart(tid, wish))
            return
        self.core.handle(stop)
        if isinstance(self.core.orphans.stops.get(tid), EventStop) and tid not in self.core.orphans.origins:
            child = self.kernel.threads.get(tid)
            found = None
            if child is not None and child.state != "gone":
                found = lifecycle.Origin(child.process.pid, child.process.parent)
            lifecycle.origin(self.core, tid, found)
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
                    self.check_free(tid)
                    kernel.listen(tid)
                case Interrupt(tid):
                    kernel.interrupt(tid)
                case SetOptions(tid, exits):
                    kernel.set_exits(tid, exits)
                case SetSignal(tid, _):
                    kernel.change(tid, SignalStop)
                case ChangeCall(tid) | AbortCall(tid) | SetResult(tid):
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
                case Capture(tid):
                    assert self.core.tracees[tid].stopped or self.kernel.threads[tid].dying
                case AwaitReap(process):
                    self.zombies.append(process)
                case Complete(waiter):
                    assert not waiter.outstanding
                case Forget(pid):
                    assert pid not in self.core.processes

    def restart(self, action: Restart) -> None:
        self.check_free(action.tid)
        self.kernel.restart(action.tid, action.wish, action.signal, calls=action.calls)

    def check_free(self, tid: int) -> None:
        tracee = self.core.tracees.get(tid)
        assert tracee is None or not tracee.holders, f"{tid} goes on while it is held"

    def told(self, owner: Any, event: events.Event) -> None:
        """Check what a client can rely on."""
        number = event.engine if event.engine is not None else event.trace
        assert number is not None
        key = (owner.session, number)
        assert key in self.known, f"{event} of an engine nobody was told of"
        assert key not in self.ended, f"{event} of an engine that has ended"
        if isinstance(event, events.Clone):
            assert (*key, event.child_tid) not in self.children, f"{event} is told twice"
            self.children.add((*key, event.child_tid))
        if isinstance(event, events.Clone) and event.child_engine is not None:
            self.known.add((owner.session, event.child_engine))
            engine = owner.engines[event.child_engine]
            assert engine.process.pid == event.child_pid
            self.engines.append(engine)
        if isinstance(event, events.Detached):
            self.ended.add(key)
            self.engines = [engine for engine in self.engines if self.key(engine) != key]
            return
        if event.held:
            assert owner in [engine.owner for engine in self.core.tracees[event.tid].holders]
        if not isinstance(event, events.SyscallEntry) or event.trace is None:
            assert event.time_ns or isinstance(event, events.Resumed)
            line = (*key, event.tid)
            assert self.last_told.get(line, 0) <= event.time_ns or isinstance(event, events.Resumed), f"{event} is late"
            self.last_told[line] = max(event.time_ns, self.last_told.get(line, 0))

    # The sessions' side

    @staticmethod
    def key(engine: Engine) -> tuple[int, int]:
        return engine.owner.session, engine.id if engine.trace is None else engine.trace.id

    def attached(self, pid: int) -> Process | None:
        """Attach to a process as the tracer does."""
        core = self.core
        process = core.processes.get(pid)
        if process is not None and process.engines:
            return process
        while self.kernel.ready():
            self.collect(self.kernel.ready()[0])
        process = core.processes.get(pid) or Process(pid, FakeTarget(pid))
        for tid in list(self.kernel.threads[pid].process.threads):
            if tid not in process.tracees and (tid in core.orphans.stops or self.kernel.seize(tid)):
                control.adopt_thread(core, process, tid)
        if not process.tracees:
            self.perform()
            return None
        core.processes[pid] = process
        return process

    def target(self, pick: int) -> Process | None:
        leaders = [thread for thread in self.kernel.living() if thread.tid == thread.process.pid and not thread.dying]
        return self.attached(leaders[pick % len(leaders)].tid) if leaders else None

    @precondition(lambda self: len(self.engines) < 6)
    @rule(pick=PICKS, owner=PICKS, mask=MASKS, settings=st.fixed_dictionaries(dict.fromkeys(SETTINGS, st.booleans())))
    def attach(self, pick: int, owner: int, mask: dict[str, str], settings: dict[str, bool]) -> None:
        process = self.target(pick)
        if process is None:
            return
        session = self.owners[owner % 3]
        engine = Engine(session, process, events=mask, **settings)
        engine.id = session.engine_id(engine)
        self.known.add(self.key(engine))
        self.engines.append(engine)
        control.attach(self.core, engine)
        self.perform()

    @precondition(lambda self: len(self.engines) < 6)
    @rule(pick=PICKS, owner=PICKS, follow=st.booleans(), entries=st.booleans(), words=st.sampled_from(["all", "none"]))
    def trace(self, pick: int, owner: int, follow: bool, entries: bool, words: str) -> None:
        process = self.target(pick)
        if process is None:
            return
        session = self.owners[owner % 3]
        trace = Trace(session, Selection([words]), follow=follow, entries=entries)
        trace.id = session.new_id()
        trace.processes = 1
        engine = Engine(session, process, events={}, follow=follow, trace=trace)
        self.known.add(self.key(engine))
        self.engines.append(engine)
        control.attach(self.core, engine)
        self.perform()

    def chosen(self, pick: int) -> Engine | None:
        engines = [engine for engine in self.engines if engine.trace is None and engine.process.tracees]
        return engines[pick % len(engines)] if engines else None

    @rule(pick=PICKS, which=PICKS, announce=st.booleans(), everything=st.booleans())
    def hold(self, pick: int, which: int, announce: bool, everything: bool) -> None:
        self.looks()
        engine = self.chosen(pick)
        if engine is not None:
            tracees = list(engine.process.tracees.values())
            control.hold(
                self.core, engine, tracees if everything else [tracees[which % len(tracees)]], announce=announce
            )
            self.perform()

    @rule(which=PICKS, wish=st.sampled_from(list(Wish)), change=CHANGES)
    def resume(self, which: int, wish: Wish, change: SignalChange | CallChange | None) -> None:
        self.looks()
        held = [(engine, tracee) for tracee in self.core.tracees.values() for engine in tracee.holders]
        if held:
            engine, tracee = held[which % len(held)]
            before = list(tracee.holders)
            try:
                control.resume(self.core, engine, [tracee], wish, change)
            except (NotHeld, Contended):
                assert tracee.holders == before
            self.perform()

    @rule(pick=PICKS, mask=MASKS)
    def set_events(self, pick: int, mask: dict[str, str]) -> None:
        engine = self.chosen(pick)
        if engine is not None:
            engine.events = mask
            control.refresh(self.core, engine.process)
            self.perform()

    @rule(pick=PICKS)
    def detach(self, pick: int) -> None:
        if self.engines:
            self.end(self.engines[pick % len(self.engines)])

    def end(self, engine: Engine) -> None:
        """End an engine, or a trace in all its processes."""
        self.looks()
        for other in self.core.engines():
            if other is engine or (other.trace is not None and other.trace is engine.trace):
                control.detach(self.core, other, "client_request", 1 << 61)
        self.perform()

    # The rules

    @invariant()
    def nothing_stays_stopped_that_nobody_holds(self) -> None:
        for thread in self.kernel.living():
            if not thread.traced or thread.state != "trapped" or not thread.told:
                continue
            assert thread.dying is None or thread.dying.signal != "SIGKILL", f"{thread} is held though it is killed"
            tracee = self.core.tracees.get(thread.tid)
            if tracee is None:
                assert thread.tid in self.core.orphans.stops, f"{thread} is forgotten"
                assert self.kernel.will_be_told_of(thread), f"{thread} waits for a parent that does not tell"
            else:
                assert tracee.stopped, f"{thread} is taken to run"
                assert tracee.holders, f"{thread} is held by nobody"

    @invariant()
    def what_is_held_stops(self) -> None:
        for thread in self.kernel.living():
            tracee = self.core.tracees.get(thread.tid)
            if thread.state != "running" or not thread.traced or thread.dying or tracee is None:
                continue
            assert not tracee.stopped, f"{thread} is taken to be stopped"
            process = tracee.process
            slack = tracee.holders or tracee.leaving or tracee.fresh or thread.wish > process.request
            slack = slack or (thread.wish is Wish.BLOCK_STEP and process.request is Wish.SYSCALL)
            if (slack or process.exits > thread.exits) and not thread.execing:
                assert thread.interrupted, f"{thread} was not interrupted"

    def teardown(self) -> None:
        """After the last engine has left every thread is let go, or dead; only then is nothing remembered."""
        for engine in list(self.engines):
            self.end(engine)
        assert not self.engines
        for _ in range(1000):
            ready = self.kernel.ready()
            if ready:
                self.collect(ready[0])
                continue
            able = [thread for thread in self.kernel.living() if thread.traced and self.kernel.can_act(thread)]
            if not sum(self.kernel.pending(thread) for thread in able):
                break
        traced = [thread for thread in self.kernel.threads.values() if thread.traced and thread.alive]
        assert traced == []
        ended = {thread.tid for thread in self.kernel.threads.values() if thread.state == "ended"}
        assert self.core.tracees.keys() <= ended
        assert {tracee.process.pid for tracee in self.core.tracees.values()} == self.core.processes.keys()
        assert not self.core.orphans.stops
        assert not self.core.orphans.origins
        assert not self.core.traces
        assert not self.core.unreaped
        assert all(waiter.outstanding <= ended for waiter in self.core.waiters)


Machine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
test_engines_at_random = pytest.mark.filterwarnings("ignore")(Machine.TestCase)
