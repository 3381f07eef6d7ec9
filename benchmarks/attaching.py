"""How long it takes to attach a process of many threads, and to let it go."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.flood import Flood
from benchmarks.rounds import Row, alone, interleave
from benchmarks.tracers import worker
from utraced.api.daemon import Hello
from utraced.api.trace import Start, Stop

AIM_MS = "200"


def time_of_attaching(program: Path, *, threads: int, rounds: int) -> list[Row]:
    """Measure ``trace.start`` and ``trace.stop`` as a client sees them; the worker has started before."""
    letting_go: list[float] = []

    def attach() -> float:
        attached, let_go = _once(program, threads)
        letting_go.append(let_go)
        return attached

    attaching = interleave({"attach": attach}, rounds)["attach"]
    return [
        alone(f"attach {threads} threads", attaching, "ms", AIM_MS),
        alone(f"let {threads} threads go", letting_go, "ms"),
    ]


def _once(program: Path, threads: int) -> tuple[float, float]:
    """Return milliseconds of attaching and of letting go."""
    with Flood(program, "idle", threads=threads, amount=0) as flood, worker() as client:
        client.call(Hello())
        started = time.monotonic()
        trace = client.call(Start(pid=flood.pid, follow=True, backend="ptrace", overflow="block")).trace
        attached = time.monotonic()
        client.call(Stop(trace=trace))
        return (attached - started) * 1e3, (time.monotonic() - attached) * 1e3
