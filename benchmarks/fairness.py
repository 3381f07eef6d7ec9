"""Whether busy threads get the same number of stops."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.flood import Flood
from benchmarks.placing import PLACINGS, Placing, placed
from benchmarks.rounds import Row, alone, interleave
from benchmarks.tracers import Tracer, discard, strace, text

TRACEES = 8
TRACERS: dict[str, Tracer] = {"strace": strace, "worker": discard, "utracectl": text}
AIM = "1.3"


def fairness(program: Path, folder: Path, *, milliseconds: int, rounds: int) -> list[Row]:
    """Return by what factor the luckiest of eight threads gets more stops than the unluckiest."""
    rows = []
    for placing in PLACINGS:
        measures = {
            name: partial(_one, tracer, program, folder, placing, milliseconds) for name, tracer in TRACERS.items()
        }
        for name, values in interleave(measures, rounds).items():
            aim = "" if name == "strace" else AIM
            rows.append(alone(f"most to fewest stops of {TRACEES}, {placing}: {name}", values, "", aim))
    return rows


def _one(tracer: Tracer, program: Path, folder: Path, placing: Placing, milliseconds: int) -> float:
    """Return most by fewest; as much as infinity where a thread got nowhere."""
    with (
        placed(placing),
        Flood(program, "time", threads=TRACEES, amount=milliseconds) as flood,
        tracer(flood.pid, folder) as finish,
    ):
        flood.begin()
        finish()
        made = flood.counts()
    return max(made) / min(made) if min(made) else float("inf")
