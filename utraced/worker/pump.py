"""The pump: runs the tracer's rounds inside the event loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic_ns

import anyio
import anyio.lowlevel

from utraced.kernel.signalfd import drain
from utraced.kernel.tracer import Tracer

BUDGET_NS = 75_000
"""Nanoseconds of rounds before the loop turns: more starves requests, less spends the time on turning."""
QUICK_NS = 100_000
"""Stops that come faster than this are waited for without sleeping."""
POLLS = 40


class Pump:
    """Collects stops until cancelled; ``flush`` is called when there are none left, and when the loop turns.

    Sleeping in epoll between stops that come fast costs more than the stops: so it yields the CPU once, which on a
    shared CPU lets the tracee reach its next stop, then polls a while, which on another CPU sees it come.
    """

    def __init__(self, tracer: Tracer, sigchld: int, flush: Callable[[bool], None]) -> None:
        self._tracer = tracer
        self._sigchld = sigchld
        self._flush = flush
        self._last_ns = 0

    async def run(self) -> None:
        """Pump for ever."""
        while True:
            await anyio.wait_readable(self._sigchld)
            drain(self._sigchld)
            await self._burst()

    async def _burst(self) -> None:
        """Run rounds until no more stops come."""
        work = self._tracer.round
        while True:
            started = monotonic_ns()
            while work():
                self._last_ns = now = monotonic_ns()
                if now - started > BUDGET_NS:
                    break
            else:
                if not self._wait_briefly():
                    self._flush(True)
                    return
                continue
            self._flush(False)
            await anyio.lowlevel.checkpoint()

    def _wait_briefly(self) -> bool:
        """Wait for the next stop without sleeping; return whether one came."""
        if monotonic_ns() - self._last_ns > QUICK_NS:
            return False
        os.sched_yield()
        work = self._tracer.round
        for _ in range(POLLS):
            if work():
                self._last_ns = monotonic_ns()
                return True
        return False
