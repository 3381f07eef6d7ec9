"""What a stop costs: the time from the first call of a flood until its last event is out, by the number of stops."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.flood import Flood
from benchmarks.placing import Placing, placed
from benchmarks.rounds import Row, compare, interleave
from benchmarks.tracers import Tracer, discard, strace, text

STOPS_PER_CALL = 2
TRACERS: dict[str, Tracer] = {"strace": strace, "worker, events discarded": discard, "utracectl trace -o FILE": text}
AIMS = {"worker, events discarded": "1.3", "utracectl trace -o FILE": "2"}


class Setting(NamedTuple):
    """Who floods, where, and how much: ``calls`` of all ``tracees`` together."""

    tracees: int
    placing: Placing
    calls: int


def cost_of_stops(program: Path, folder: Path, setting: Setting, *, rounds: int) -> list[Row]:
    """Compare the tracers; only the pinned figures have an aim."""
    measures = {name: partial(_one, tracer, program, folder, setting) for name, tracer in TRACERS.items()}
    found = interleave(measures, rounds)
    prefix = f"a stop, {setting.tracees} {'tracee' if setting.tracees == 1 else 'tracees'}, {setting.placing}"
    return compare(found, "strace", prefix=prefix, unit="µs", aims=AIMS if setting.placing == "pinned" else {})


def _one(tracer: Tracer, program: Path, folder: Path, setting: Setting) -> float:
    """Return microseconds a stop."""
    tracees = setting.tracees
    each = max(1, setting.calls // tracees)
    with (
        placed(setting.placing),
        Flood(program, "calls", threads=tracees, amount=each) as flood,
        tracer(flood.pid, folder) as finish,
    ):
        started = time.monotonic()
        flood.begin()
        finish()
        took = time.monotonic() - started
    return took * 1e6 / (each * tracees * STOPS_PER_CALL)
