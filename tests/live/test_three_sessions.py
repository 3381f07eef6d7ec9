"""Three sessions on one busy process of eight threads, on the real kernel, against the same model."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from subprocess import Popen
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import WALL
from tests.live.conftest import Programs
from tests.live.machine import free, running, threads, until
from tests.tracing.three_sessions import THREADS, Calls, Signals, Steps
from utraced.api import engine, thread
from utraced.api.engine import CallFilter
from utraced.handlers.session import Session
from utraced.kernel import ptrace
from utraced.kernel import tracer as module

AT_LEAST = 5000
"""Events that each of the two examples comes to."""
ACTIONS = ["run", "step", "step", "block_step"]
NUMBERS = struct.Struct("<4Q")


class Numbered:
    """A running numbered.c; ``numbers`` gives what each thread has done, by the thread's place."""

    def __init__(self, process: Popen[bytes], path: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._path = path

    def numbers(self) -> list[tuple[int, int, int, int]]:
        return list(NUMBERS.iter_unpack(self._path.read_bytes()))

    def works(self) -> None:
        """Check that every thread goes on."""
        before = self.numbers()
        until(lambda: all(now > then for now, then in zip(self.numbers(), before, strict=True)), "every thread goes on")


@contextmanager
def numbered(program: Path, folder: Path) -> Iterator[Numbered]:
    """Give a running numbered.c."""
    path = folder / "numbers"
    with running([program, path, str(THREADS)]) as process:
        try:
            yield Numbered(process, path)
        finally:
            process.kill()
            until(lambda: not [tid for tid in threads(process.pid) if _is_left(process.pid, tid)], "only the leader")
            process.wait()
            path.unlink()


def _is_left(pid: int, tid: int) -> bool:
    """Reap a thread that is still ours, where a test has failed: its process does not end before."""
    if tid == pid:
        return False
    try:
        _, status = os.waitpid(tid, WALL | os.WNOHANG)
    except ChildProcessError:
        return False
    if os.WIFSTOPPED(status):
        ptrace.attempt(ptrace.PTRACE_CONT, tid)
    return True


class Machine(RuleBasedStateMachine):
    """The three sessions of one tracer, whose rounds the machine runs."""

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__()
        self.closing = ExitStack()
        self.target = self.closing.enter_context(numbered(program, folder))
        self.hand = self.closing.enter_context(by_hand())
        self.models: dict[int, Any] = {1: Calls(), 2: Signals(), 3: Steps()}
        self.sessions: dict[int, Session] = {1: self.hand.session, 2: self.hand.another(2), 3: self.hand.another(3)}
        self.engines: dict[int, int] = {}
        self.stops = 0
        self.answers = 0
        for name in ("classify", "syscall_stop"):
            self.closing.enter_context(patch.object(module, name, self._counting_stops(getattr(module, name))))
        self.closing.enter_context(patch.object(ptrace, "restart", self._counting_answers(ptrace.restart)))

    def _counting_stops(self, ask: Any) -> Any:
        def counting(*arguments: Any) -> Any:
            stop = ask(*arguments)
            self.stops += stop is not None
            return stop

        return counting

    def _counting_answers(self, restart: Any) -> Any:
        def counting(*arguments: Any) -> Any:
            done = restart(*arguments)
            self.answers += done
            return done

        return counting

    @initialize(order=st.permutations([1, 2, 3]))
    def begin(self, order: list[int]) -> None:
        for number in order:
            self.engines[number] = self.call(number, engine.Attach(pid=self.target.pid, events=())).engine
        only = CallFilter(set=("getppid",))
        self.call(1, engine.SetSyscalls(engine=self.engines[1], entry=only, exit=only))
        self.call(1, engine.SetEvents(engine=self.engines[1], events=("syscall_entry", "syscall_exit")))
        self.call(2, engine.SetEvents(engine=self.engines[2], events={"signal": "hold"}))

    def call(self, number: int, method: Any) -> Any:
        return self.hand.call(method, session=self.sessions[number])

    # What happens

    @rule(seed=st.integers(0, 1 << 32), acts=st.integers(1, 40))
    def goes_on(self, seed: int, acts: int) -> None:
        random = Random(seed)
        for _ in range(acts):
            random.choice([self.rounds, self.rounds, self.answer, self.answer, self.stop, self.let_go])(random)

    def rounds(self, random: Random) -> None:
        """Let the threads run, but those that are held."""
        held = {tid for model in (self.models[2], self.models[3]) for tid in model.held}
        places = {tid: self.place(tid) for tid in held}
        before = self.target.numbers()
        for _ in range(random.randrange(1, 12)):
            if not self.hand.tracer.round():
                os.sched_yield()
        after = self.target.numbers()
        assert [before[place] for place in places.values()] == [after[place] for place in places.values()]
        self.hear()

    def place(self, tid: int) -> int:
        """Return a thread's place: threads are made in the order of their ids, but where those began anew."""
        return threads(self.target.pid).index(tid)

    def hear(self) -> None:
        for number, session in self.sessions.items():
            for event in self.hand.events(session):
                assert event.engine == self.engines[number]
                self.models[number].told(event)

    def answer(self, random: Random) -> None:
        """The second session goes on from a signal."""
        held = self.models[2].held
        if held:
            tid = held.pop(random.randrange(len(held)))
            self.call(2, thread.Resume(engine=self.engines[2], tid=tid))

    def stop(self, random: Random) -> None:
        """The third session stops a thread."""
        model = self.models[3]
        tid = random.choice(threads(self.target.pid))
        if tid not in model.held and tid not in model.asked:
            model.asked[tid] = "stop"
            self.call(3, thread.Stop(engine=self.engines[3], tid=tid, wait=False))

    def let_go(self, random: Random) -> None:
        """The third session goes on from where it has stopped a thread."""
        model = self.models[3]
        if model.held:
            tid = model.held.pop(random.randrange(len(model.held)))
            action = random.choice(ACTIONS)
            if action != "run":
                model.asked[tid] = "step"
            self.call(3, thread.Resume(engine=self.engines[3], tid=tid, action=action))

    # The rules

    @invariant()
    def each_stop_is_answered_once(self) -> None:
        stopped = sum(tracee.stopped for tracee in self.hand.core.tracees.values())
        assert self.stops == self.answers + stopped

    def teardown(self) -> None:
        """Go on to so many events; then, all being held, nothing is missing, and afterwards everything runs."""
        with self.closing:
            if not self.engines:
                return
            random = Random(1)
            while sum(model.count for model in self.models.values()) < AT_LEAST:
                self.goes_on(random.randrange(1 << 32), 20)
            self.hold_all(random)
            self.each_stop_is_answered_once()
            calls, signals = self.models[1], self.models[2]
            for tid in threads(self.target.pid):
                begun, returned, queued, _ = self.target.numbers()[self.place(tid)]
                # It may be held between counting and calling, or between returning and counting.
                assert calls.last[tid] in {begun, begun - 1}
                assert returned in {calls.last[tid], calls.last[tid] - 1}
                assert signals.last[tid] in {queued, queued - 1}
            for tid in signals.held:
                self.call(2, thread.Resume(engine=self.engines[2], tid=tid))
            self.call(3, thread.Resume(engine=self.engines[3]))
            for session in self.sessions.values():
                session.close("session_closed", 1)
            self.hand.ended(self.target.pid)
            assert free(self.target.pid)
            self.target.works()
            # Nothing was lost or doubled on the way to the handlers either.
            assert all(queued - handled in {0, 1} for _, _, queued, handled in self.target.numbers())

    def hold_all(self, random: Random) -> None:
        """The third session holds all threads."""
        model = self.models[3]

        def all_held() -> bool:
            for tid in threads(self.target.pid):
                if tid not in model.held and tid not in model.asked:
                    model.asked[tid] = "stop"
                    self.call(3, thread.Stop(engine=self.engines[3], tid=tid, wait=False))
            self.answer(random)
            self.rounds(random)
            return len(model.held) == THREADS

        until(all_held, "all are held")


def test_three_sessions_at_random(programs: Programs, tmp_path: Path) -> None:
    program = programs("numbered")
    run_state_machine_as_test(
        lambda: Machine(program, tmp_path),
        settings=settings(
            max_examples=2,
            stateful_step_count=15,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
