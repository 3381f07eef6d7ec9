"""What a second engine costs that only observes: by the number of stops, all on one CPU."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.daemon import connected, daemon
from benchmarks.flood import Flood
from benchmarks.placing import placed
from benchmarks.programs import compile_peer, draining
from benchmarks.rounds import Row, compare, interleave
from utraced.api.engine import Attach, EventName

STOPS_PER_CALL = 2
CALLS: tuple[EventName, ...] = ("syscall_entry", "syscall_exit", "death")
SIGNALS: tuple[EventName, ...] = ("signal", "death")
ONE = "one engine, told every call"
ENGINES: dict[str, Sequence[tuple[EventName, ...]]] = {
    ONE: (CALLS,),
    "a second, told signals": (CALLS, SIGNALS),
    "a second, told every call too": (CALLS, CALLS),
}
AIMS = {"a second, told signals": "1.25", "a second, told every call too": "1.25"}


def cost_of_observers(program: Path, folder: Path, *, calls: int, rounds: int) -> list[Row]:
    """Compare one session's engine with two sessions' of which another process reads the events."""
    peer = compile_peer(folder)
    measures = {name: partial(_one, program, peer, folder, wants, calls) for name, wants in ENGINES.items()}
    found = interleave(measures, rounds)
    return compare(found, ONE, prefix="a stop", unit="µs", aims=AIMS)


def _one(program: Path, peer: Path, folder: Path, wants: Sequence[tuple[EventName, ...]], calls: int) -> float:
    """Return microseconds a stop."""
    with (
        placed("pinned"),
        daemon(folder) as (path, _),
        Flood(program, "calls", threads=1, amount=calls) as flood,
        contextlib.ExitStack() as stack,
    ):
        for events in wants:
            client = stack.enter_context(connected(path))
            client.call(Attach(pid=flood.pid, events=events))
            stack.enter_context(draining(peer, client.fileno()))
        started = time.monotonic()
        flood.begin()
        flood.counts()
        return (time.monotonic() - started) * 1e6 / (calls * STOPS_PER_CALL)
