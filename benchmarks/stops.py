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
SHORT = 10
"""How many times shorter the flood is that tells what is not a stop."""
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
    """Return microseconds a stop: what a tracer takes to end is in a short flood too, and taken off."""
    each = max(SHORT, setting.calls // setting.tracees)
    few = each // SHORT
    took = _took(tracer, program, folder, setting, each) - _took(tracer, program, folder, setting, few)
    return took * 1e6 / ((each - few) * setting.tracees * STOPS_PER_CALL)


def _took(tracer: Tracer, program: Path, folder: Path, setting: Setting, each: int) -> float:
    """Return the seconds of a flood of ``each`` calls a thread."""
    with (
        placed(setting.placing),
        Flood(program, "calls", threads=setting.tracees, amount=each) as flood,
        tracer(flood.pid, folder) as finish,
    ):
        started = time.monotonic()
        flood.begin()
        finish()
        return time.monotonic() - started
