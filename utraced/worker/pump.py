"""The pump: runs the tracer's rounds inside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from os import sched_yield
from time import monotonic_ns
from typing import Protocol

import anyio
import anyio.lowlevel

from utraced.kernel.signalfd import drain
from utraced.kernel.tracer import Tracer

LOOK_NS = 50_000
"""Nanoseconds of rounds between looks whether the loop has something to do: that takes 1 µs."""
TURN_NS = 1_000_000
"""Nanoseconds after which the loop turns in any case: that takes 15 µs."""
QUICK_NS = 100_000
"""Stops that come faster than this are waited for without sleeping."""
POLLS = 40


class Flush(Protocol):
    """What is called when the loop turns; ``idle``: there are no more stops to collect."""

    def __call__(self, *, idle: bool) -> None:
        """Send what is to be sent."""
        ...


class Pump:
    """Collects stops until cancelled; ``flush`` is called when the loop turns, ``ready``
    tells whether it should.

    Sleeping in epoll between stops that come fast costs more than the stops.  So, when there is none, it yields the CPU
    once, which on a shared CPU lets the tracee reach its next stop, and polls, which on another CPU sees it come.
    """

    def __init__(self, tracer: Tracer, sigchld: int, flush: Flush, ready: Callable[[], bool]) -> None:
        self._tracer = tracer
        self._sigchld = sigchld
        self._flush = flush
        self._ready = ready
        self._last_ns = 0
        self._hurry = False

    def hurry(self) -> None:
        """Let the loop turn soon: a request need not wait any longer."""
        self._hurry = True

    async def run(self) -> None:
        """Pump for ever."""
        while True:
            await anyio.wait_readable(self._sigchld)
            drain(self._sigchld)
            while not self._rounds():
                self._flush(idle=False)
                self._hurry = False
                await anyio.lowlevel.checkpoint()
            self._flush(idle=True)

    def _rounds(self) -> bool:
        """Run rounds until the loop should turn; return whether that is because no more stops came."""
        work = self._tracer.round
        now = monotonic_ns()
        quick = now - self._last_ns < QUICK_NS
        look, turn = now + LOOK_NS, now + TURN_NS
        misses = 0
        while misses < POLLS:
            if work():
                now = monotonic_ns()
                quick = now - self._last_ns < QUICK_NS
                self._last_ns = now
                misses = 0
                if now > look:
                    if now > turn or self._hurry or self._ready():
                        return False
                    look = now + LOOK_NS
            elif quick:
                if misses == 0:
                    sched_yield()
                misses += 1
            else:
                return True
        return True
