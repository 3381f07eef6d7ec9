"""What threads and processes cost that come and go as fast as the kernel allows, while somebody is attached."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.placing import placed
from benchmarks.programs import compile_peer, draining
from benchmarks.rounds import Row, compare, interleave
from benchmarks.tracers import Tracer, strace, worker
from utraced.api.engine import Attach

SOURCE = Path(__file__).with_name("births.c")
Kind = Literal["threads", "processes"]
UNTRACED = "untraced"


class Births(NamedTuple):
    """The programs of a measurement: the one that gives birth, and the one that reads events."""

    program: Path
    peer: Path
    folder: Path


def cost_of_births(folder: Path, *, threads: int, processes: int, rounds: int) -> list[Row]:
    """Compare with an untraced run: an engine that is told of births and deaths, and strace, told of all calls."""
    program = folder / "births"
    subprocess.run(["gcc", "-O2", "-pthread", "-o", program, SOURCE], check=True)
    births = Births(program, compile_peer(folder), folder)
    tracers: dict[str, Tracer] = {UNTRACED: _nobody, "an engine": partial(_engine, births.peer), "strace -f": strace}
    rows: list[Row] = []
    kinds: dict[Kind, int] = {"threads": threads, "processes": processes}
    for kind, count in kinds.items():
        measures = {name: partial(_one, tracer, births, kind, count) for name, tracer in tracers.items()}
        found = interleave(measures, rounds)
        rows += compare(found, UNTRACED, prefix=f"one of {count} {kind}", unit="µs", aims={})
    return rows


def _one(tracer: Tracer, births: Births, kind: Kind, count: int) -> float:
    """Return microseconds for each."""
    with placed("free"):
        process = subprocess.Popen(
            [births.program, kind, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            with tracer(process.pid, births.folder) as finish:
                out, _ = process.communicate("\n")
                finish()
    return int(out) / 1e3 / count


@contextlib.contextmanager
def _nobody(_pid: int, _folder: Path) -> Iterator[Callable[[], None]]:
    yield lambda: None


@contextlib.contextmanager
def _engine(peer: Path, pid: int, _folder: Path) -> Iterator[Callable[[], None]]:
    """Attach an engine that follows, and have another process read what it is told."""
    with worker() as client:
        client.call(Attach(pid=pid, events=("clone", "death"), follow=True))
        with draining(peer, client.fileno()):
            yield lambda: None
