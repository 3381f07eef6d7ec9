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
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace
from utraced.tracing import control, filtering, lifecycle
from utraced.tracing.actions import (
    Wish,
)
from utraced.tracing.changes import CallChange, SignalChange
from utraced.tracing.engine import Engine
from utraced.tracing.process import Process

from . import playbook
from .driven import Driven
from .fake_kernel import Thread
from .playbook import FakeOwner

KINDS = list(get_args(EventName))
MASKS = st.dictionaries(st.sampled_from(KINDS), st.sampled_from(["report", "hold"]), max_size=5)
ACTS = [*["call"] * 8, *["step", "signal", "stop", "continue", "thread", "fork"] * 2]
ACTS += ["sibling", "exec", "exit", "exit_group"]
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
PROGRAM = bytes(16)


class Machine(Driven, RuleBasedStateMachine):
    """Three sessions on the processes of a fake kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.owners = [FakeOwner(number) for number in (1, 2, 3)]
        self.engines: list[Engine] = []
        self.known: set[tuple[int, int]] = set()
        self.ended: set[tuple[int, int]] = set()
        self.last_told: dict[tuple[int, int, int], int] = {}
        self.children: set[tuple[int, int, int]] = set()

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
        elif (thread.newborn or thread.step_done or not late) and kernel.pending(thread):
            return
        elif what == "call":
            kernel.call(thread)
        elif what == "step":
            kernel.step(thread)
        elif what in {"thread", "fork", "sibling"}:
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

    def attached(self, pid: int) -> Process | None:
        """Attach to a process as the tracer does."""
        core = self.core
        process = core.processes.get(pid)
        if process is not None and (process.engines or process.bound):
            return process
        while self.kernel.ready():
            self.collect(self.kernel.ready()[0])
        if pid in core.processes:
            control.forget_strangers(core, core.processes[pid], lambda tid: self.kernel.threads[tid].traced)
            self.perform()
        process = core.processes.get(pid) or Process(pid, self.open(pid))
        for tid in list(self.kernel.threads[pid].process.threads):
            if tid not in process.tracees and (tid in core.orphans.stops or self.kernel.seize(tid)):
                control.adopt_thread(core, process, tid)
        if not process.tracees:
            self.perform()
            return None
        core.processes[pid] = process
        self.perform()
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

    @precondition(lambda self: len(self.engines) < 6)
    @rule(pick=PICKS, owner=PICKS)
    def trace_by_filter(self, pick: int, owner: int) -> None:
        process = self.target(pick)
        if process is None:
            return
        session = self.owners[owner % 3]
        trace = Trace(session, Selection(), follow=True, from_exec=True, filtered=True)
        trace.id = session.new_id()
        trace.processes = 1
        engine = Engine(session, process, events={}, follow=True, trace=trace)
        self.known.add(self.key(engine))
        self.engines.append(engine)
        control.attach(self.core, engine)
        filtering.install(process, PROGRAM)
        self.perform()

    @rule(turns=st.integers(1, 10))
    def makes_calls_for_filters(self, turns: int) -> None:
        """Let those threads go on that are being given a filter, or have one: they would seldom come so far."""
        for _ in range(turns):
            for tracee in list(self.core.tracees.values()):
                if tracee.installation is None and not tracee.process.bound:
                    continue
                thread = self.kernel.threads.get(tracee.tid)
                if thread is not None and thread in self.kernel.ready():
                    self.collect(thread)
                elif thread is not None and self.kernel.can_act(thread):
                    self.act(thread, "call", late=False)

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
        self.check_stopped()

    @invariant()
    def what_is_held_stops(self) -> None:
        for thread in self.kernel.living():
            tracee = self.core.tracees.get(thread.tid)
            if thread.state != "running" or not thread.traced or thread.dying or tracee is None:
                continue
            if thread.forced or thread.again:
                continue  # it stops at once
            assert not tracee.stopped, f"{thread} is taken to be stopped"
            process = tracee.process
            slack = tracee.holders or tracee.leaving or tracee.fresh or thread.wish > process.request
            slack = slack or (thread.wish is Wish.BLOCK_STEP and process.request is Wish.SYSCALL)
            if (slack or process.exits > thread.exits) and not thread.execing:
                assert thread.interrupted, f"{thread} was not interrupted"

    def teardown(self) -> None:
        """After the last engine has left every thread is let go, or dead, or bound; all others are forgotten."""
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
        traced = {thread.tid for thread in self.kernel.threads.values() if thread.traced and thread.alive}
        bound = {thread.tid for thread in self.kernel.threads.values() if thread.filtered and thread.alive}
        assert traced == bound
        ended = {thread.tid for thread in self.kernel.threads.values() if thread.state == "ended"}
        # Of what has become of a leader that had ended nobody tells.
        ended |= self.kernel.usurped
        assert bound <= self.core.tracees.keys() <= ended | bound
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
