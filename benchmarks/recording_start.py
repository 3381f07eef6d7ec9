"""How long a client waits for a trace that the kernel records: the first of a worker, and later ones."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from benchmarks.rounds import Row, alone
from benchmarks.tracers import worker
from utracectl.client import Client
from utraced.api.daemon import Hello
from utraced.api.trace import Start, Stop

AIM_MS = "80"
_LATER = 3

SELECTIONS: dict[str, Sequence[str] | None] = {"all calls": None, "openat": ("openat",), "%file": ("%file",)}


def time_of_starting(*, rounds: int) -> list[Row]:
    """Measure from a request to its answer, milliseconds, of a process that sleeps."""
    first: dict[str, list[float]] = {name: [] for name in SELECTIONS}
    later: dict[str, list[float]] = {name: [] for name in SELECTIONS}
    target = subprocess.Popen(["sleep", "1000"])
    try:
        for _ in range(rounds):
            for name, calls in SELECTIONS.items():
                with worker() as client:
                    client.call(Hello())  # the worker has started
                    first[name].append(_start(client, target.pid, calls))
                    later[name] += [_start(client, target.pid, calls) for _ in range(_LATER)]
    finally:
        target.kill()
        target.wait()
    rows = []
    for name in SELECTIONS:
        rows.append(alone(f"first trace of a worker, {name}: request to answer", first[name], "ms", AIM_MS))
        rows.append(alone(f"later traces, {name}: request to answer", later[name], "ms", AIM_MS))
    return rows


def _start(client: Client, pid: int, calls: Sequence[str] | None) -> float:
    """Start a trace and stop it again; return how many milliseconds the start took."""
    request = Start(pid=pid, backend="kernel", deliver="raw", syscalls=None if calls is None else tuple(calls))
    started = time.perf_counter()
    made = client.call(request)
    taken = (time.perf_counter() - started) * 1e3
    client.call(Stop(trace=made.trace))
    return taken
