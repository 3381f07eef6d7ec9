"""How long a request waits while the same daemon traces a flood of stops for somebody else."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.asking import Times, asking, summary
from benchmarks.daemon import connected, daemon, greeted, request_of
from benchmarks.flood import Flood
from benchmarks.placing import PLACINGS, Placing, placed
from benchmarks.programs import compile_peer, draining
from benchmarks.rounds import Row, alone
from utraced.api.daemon import Hello
from utraced.api.trace import Start

AIM_P99_US = "1000"


def latency_in_a_flood(program: Path, folder: Path, *, milliseconds: int, rounds: int) -> list[Row]:
    """Measure ``daemon.hello`` from the first stop to the last; another process reads the events, and none is lost."""
    peer = compile_peer(folder)
    rows = []
    for placing in PLACINGS:
        found = [_one(program, peer, folder, placing, milliseconds) for _ in range(rounds)]
        name = f"hello in a flood of stops, {placing}"
        rows.append(alone(f"{name}: median", [one.median for one in found], "µs"))
        rows.append(alone(f"{name}: p99", [one.p99 for one in found], "µs", AIM_P99_US))
    return rows


def _one(program: Path, peer: Path, folder: Path, placing: Placing, milliseconds: int) -> Times:
    with (
        placed(placing),
        daemon(folder) as (path, _),
        Flood(program, "time", threads=1, amount=milliseconds) as flood,
        connected(path) as tracing,
        greeted(path) as sock,
    ):
        hello = asking(sock, request_of(Hello()))
        tracing.call(Start(pid=flood.pid, follow=True, backend="ptrace", overflow="block"))
        with draining(peer, tracing.fileno()):
            flood.begin()
            taken = []
            now = time.perf_counter_ns()
            end = now + milliseconds * 1_000_000
            while now < end:
                started = now
                hello()
                now = time.perf_counter_ns()
                taken.append(now - started)
            flood.counts()
        return summary(taken)
