"""The pump: runs the tracer's rounds inside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from os import sched_yield
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
    """Collects stops until cancelled; ``flush`` is called when the loop turns, with whether there are none left.

    Sleeping in epoll between stops that come fast costs more than the stops.  So it yields the CPU after each round,
    which on a shared CPU lets the tracee reach its next stop, and polls a while, which on another CPU sees it come.
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
            while not self._rounds():
                self._flush(False)
                await anyio.lowlevel.checkpoint()
            self._flush(True)

    def _rounds(self) -> bool:
        """Run rounds for ``BUDGET_NS``; return whether it ended because no more stops came."""
        work = self._tracer.round
        now = monotonic_ns()
        quick = now - self._last_ns < QUICK_NS
        deadline = now + BUDGET_NS
        misses = 0
        while misses < POLLS:
            if work():
                now = monotonic_ns()
                if now > deadline:
                    break
                quick = now - self._last_ns < QUICK_NS
                self._last_ns = now
                misses = 0
                if quick:
                    sched_yield()
            elif quick:
                if misses == 0:
                    sched_yield()
                misses += 1
            else:
                return True
        self._last_ns = now
        return misses > 0
