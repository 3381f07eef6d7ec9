"""Holding the processes of a recorded trace while its client is far behind: by itself a recording stops nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic_ns
from typing import TYPE_CHECKING

from utraced.api.events import Event
from utraced.errors import LimitExceeded, NoSuchProcess, PermissionDenied
from utraced.kernel.denied import explained
from utraced.kernel.proc import Process
from utraced.model import Holder
from utraced.tracing import control
from utraced.tracing.engine import Engine

from .deadlocks import check_deadlock

if TYPE_CHECKING:
    from utraced.observing.trace import Trace

    from .session import Session

_NS_PER_SECOND = 1_000_000_000


class Brake:
    """Holds processes for ``trace`` of ``session``, by an engine in each, whose events nobody is told.

    It is the owner of these engines (see ``Owner``).  When the worker dies the kernel lets go of all that is held.
    """

    def __init__(self, session: Session, trace: Trace) -> None:
        self.trace = trace
        self.session = session.session
        self._for = session
        self._engines: dict[int, Engine] = {}
        self._unable: set[int] = set()

    def hold(self, seen: Mapping[int, int]) -> None:
        """Hold the processes ``seen``, told with the times of records of theirs (CLOCK_MONOTONIC, nanoseconds).

        Who must not be held, or cannot be, runs on: what it does finds no room, and is counted.
        """
        for pid, time_ns in seen.items():
            if pid in self._engines or pid in self._unable:
                continue
            try:
                self._hold(pid, time_ns)
            except (NoSuchProcess, PermissionDenied, LimitExceeded, OSError):  # the last: no descriptor is left
                self._unable.add(pid)

    def release(self) -> None:
        """Let all go on."""
        self._unable.clear()
        if not self._engines:
            return
        core = self._for.tracer.core
        for engine in list(self._engines.values()):
            control.detach(core, engine, "client_request", monotonic_ns())
        self._engines.clear()
        self._for.tracer.perform()

    def _hold(self, pid: int, time_ns: int) -> None:
        check_deadlock(pid, self._for)
        tracer = self._for.tracer
        with explained(pid), Process(pid) as process:
            start_time = process.stat().start_time
        if start_time > _ticks(time_ns):
            raise NoSuchProcess(f"process {pid} has ended, and its pid belongs to another", pid=pid)
        traced = tracer.attach(pid, start_time)
        self._engines[pid] = engine = Engine(self, traced, events={}, hold=True)
        waiter = control.attach(tracer.core, engine)
        # Nobody waits until they have stopped: until then there is room for what they do.
        control.give_up(tracer.core, engine, waiter, "requested")
        tracer.perform()

    # The owner of the engines

    @property
    def holder(self) -> Holder:
        """Who that is to others."""
        return self._for.holder

    def tell(self, event: Event) -> None:
        """Nobody is told."""

    def congested(self) -> bool:
        """Nothing waits."""
        return False

    def engine_id(self, engine: Engine) -> int:
        """See ``Owner``: these engines follow nobody, and have no number."""
        del engine
        return 0

    def retire(self, engine: Engine) -> None:
        """Forget an engine whose process has ended."""
        if self._engines.get(engine.process.pid) is engine:
            del self._engines[engine.process.pid]


def _ticks(time_ns: int) -> int:
    """Return a time of CLOCK_MONOTONIC in clock ticks since the system started, as processes' starts are told."""
    since_boot = time_ns + clock_gettime_ns(CLOCK_BOOTTIME) - monotonic_ns()
    return since_boot * os.sysconf("SC_CLK_TCK") // _NS_PER_SECOND
