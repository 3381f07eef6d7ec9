"""Three sessions on one busy process of eight threads, against the fake kernel and a model of what each is told."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from utraced.api import events
from utraced.tracing import control
from utraced.tracing.actions import Wish
from utraced.tracing.changes import SignalChange
from utraced.tracing.engine import Engine
from utraced.tracing.process import Process

from .driven import Driven
from .playbook import FakeOwner, FakeTarget
from .three_sessions import THREADS, Calls, Signals, Steps

ACTS = [*["call"] * 8, "step", "step", "signal"]
STEPS = [Wish.RUN, Wish.STEP, Wish.STEP, Wish.BLOCK_STEP]
AT_LEAST = 1000
"""Events that each example comes to; there are ten."""


class Machine(Driven, RuleBasedStateMachine):
    """Three sessions, what each is told, and threads that call and are signalled."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[int, Any] = {1: Calls(), 2: Signals(), 3: Steps()}
        self.owners = {number: FakeOwner(number) for number in self.models}
        self.engines: dict[int, Engine] = {}

    @initialize(order=st.permutations([1, 2, 3]))
    def begin(self, order: list[int]) -> None:
        kernel = self.kernel
        first = kernel.new_process()
        for _ in range(THREADS - 1):
            kernel.new_thread(first.process)
        process = Process(first.tid, FakeTarget(first.tid))
        for tid in first.process.threads:
            assert kernel.seize(tid)
            control.adopt_thread(self.core, process, tid)
        self.core.processes[first.tid] = process
        masks = {1: {"syscall_entry": "report", "syscall_exit": "report"}, 2: {"signal": "hold"}, 3: {}}
        for number in order:
            engine = Engine(self.owners[number], process, events=masks[number])
            engine.id = self.owners[number].engine_id(engine)
            self.engines[number] = engine
            control.attach(self.core, engine)
            self.perform()
        for thread in first.process.threads.values():
            assert kernel.pending(thread)
            self.collect(thread)

    def told(self, owner: Any, event: events.Event) -> None:
        assert event.engine == self.engines[owner.session].id
        self.models[owner.session].told(event)

    # What happens

    @rule(seed=st.integers(0, 1 << 32), acts=st.integers(1, 60))
    def goes_on(self, seed: int, acts: int) -> None:
        random = Random(seed)
        for _ in range(acts):
            self.something(random)

    def something(self, random: Random) -> None:
        """Let a thread, the tracer or a session do something."""
        random.choice([self.act, self.act, self.collect_one, self.collect_one, self.answer, self.stop, self.let_go])(
            random
        )

    def act(self, random: Random) -> None:
        able = [thread for thread in self.kernel.living() if self.kernel.can_act(thread)]
        if not able:
            return
        thread = random.choice(able)
        what = random.choice(ACTS)
        if what == "signal":
            thread.signals.append(10)
        elif (thread.step_done or random.random() < 0.8) and self.kernel.pending(thread):
            return  # else it is past the point where it would see that it is interrupted
        elif what == "call":
            self.kernel.call(thread)
        else:
            self.kernel.step(thread)

    def collect_one(self, random: Random) -> None:
        ready = self.kernel.ready()
        if ready:
            self.collect(random.choice(ready))

    def answer(self, random: Random) -> None:
        """The second session goes on from a signal, which it sometimes drops."""
        model = self.models[2]
        if model.held:
            tid = model.held.pop(random.randrange(len(model.held)))
            others = len(self.core.tracees[tid].holders) > 1
            change = None if others or random.random() < 0.5 else SignalChange(0)
            self.resume(2, tid, Wish.RUN, change)

    def stop(self, random: Random) -> None:
        """The third session stops a thread."""
        model = self.models[3]
        tid = random.choice(list(self.core.tracees))
        if tid not in model.held and tid not in model.asked:
            model.asked[tid] = "stop"
            control.hold(self.core, self.engines[3], [self.core.tracees[tid]], announce=True)
            self.perform()

    def let_go(self, random: Random) -> None:
        """The third session goes on from where it has stopped a thread."""
        model = self.models[3]
        if model.held:
            tid = model.held.pop(random.randrange(len(model.held)))
            wish = random.choice(STEPS)
            if wish is not Wish.RUN:
                model.asked[tid] = "step"
            self.resume(3, tid, wish)

    def resume(self, number: int, tid: int, wish: Wish, change: SignalChange | None = None) -> None:
        control.resume(self.core, self.engines[number], [self.core.tracees[tid]], wish, change)
        self.perform()

    # The rules

    @invariant()
    def nothing_stays_stopped_that_nobody_holds(self) -> None:
        self.check_stopped()

    @invariant()
    def each_stop_is_answered_once(self) -> None:
        waiting = sum(tracee.stopped for tracee in self.core.tracees.values())
        assert self.stops == self.answers + waiting

    def teardown(self) -> None:
        """Go on to so many events; then, when nobody holds any more, nothing is missing."""
        if not self.engines:
            return
        random = Random(1)
        while self.count() < AT_LEAST:
            self.goes_on(random.randrange(1 << 32), 100)
            self.check_stopped()
        for _ in range(10_000):
            if not self.quiet(random):
                break
        calls, signals = self.models[1], self.models[2]
        for tid, thread in self.kernel.threads.items():
            assert calls.last.get(tid, 0) == thread.calls_made
            assert signals.last.get(tid, 0) == thread.signals_taken
            assert thread.state == "running"
        assert self.models[3].asked == {}
        self.each_stop_is_answered_once()

    def count(self) -> int:
        return sum(model.count for model in self.models.values())

    def quiet(self, random: Random) -> bool:
        """Let everything that has begun come to its end; return whether there was something."""
        signals, steps = self.models[2], self.models[3]
        for number, model in ((2, signals), (3, steps)):
            while model.held:
                self.resume(number, model.held.pop(), Wish.RUN)
        able = [thread for thread in self.kernel.living() if self.kernel.can_act(thread)]
        for thread in able:
            if not self.kernel.pending(thread) and thread.tid in steps.asked:
                (self.kernel.call if thread.in_call else self.kernel.step)(thread)
        ready = self.kernel.ready()
        for thread in ready:
            self.collect(thread)
        return bool(ready or signals.held or steps.held or steps.asked)


Machine.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
test_three_sessions_at_random = pytest.mark.filterwarnings("ignore")(Machine.TestCase)
