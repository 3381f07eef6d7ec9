"""``python -m benchmarks [SUBJECT]…``: measure, and print a table."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import table
from benchmarks.attaching import time_of_attaching
from benchmarks.births import cost_of_births
from benchmarks.broker import cost_of_the_broker
from benchmarks.connections import cost_of_connections
from benchmarks.fairness import fairness
from benchmarks.flood import compile_flood
from benchmarks.holding import cost_of_holding
from benchmarks.hostile import hostile
from benchmarks.latency import latency_in_a_flood
from benchmarks.memory import cost_of_memory
from benchmarks.neighbours import slow_down
from benchmarks.observers import cost_of_observers
from benchmarks.placing import PLACINGS, running_first
from benchmarks.recording import slow_down as slow_down_of_commands
from benchmarks.recording_start import time_of_starting
from benchmarks.rounds import Row
from benchmarks.roundtrip import cost_of_round_trips
from benchmarks.soak import soak
from benchmarks.starting import cost_of_starting
from benchmarks.stops import Setting, cost_of_stops

USUAL = (
    "stops",
    "attaching",
    "births",
    "holding",
    "observers",
    "memory",
    "fairness",
    "starting",
    "roundtrip",
    "connections",
    "broker",
    "latency",
    "neighbours",
)
SUBJECTS = (*USUAL, "recording", "soak", "hostile")
"""What needs root, and what lasts as long as one wants, is measured when it is named."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print their table; return the exit status."""
    options = _options(argv)
    for program in ("gcc", "strace"):
        if shutil.which(program) is None:
            print(f"benchmarks: {program} is needed: apt install {program}", file=sys.stderr)
            return 1
    # What is measured is not compiling: a first run writes the bytecode, which users have from the installation.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"Linux {platform.release()}, Python {platform.python_version()}, {options.rounds} interleaved rounds")
    print(table.HEAD)
    priority = running_first() if options.first else contextlib.nullcontext()
    with priority, tempfile.TemporaryDirectory(prefix="utraced-benchmarks-") as name:
        folder = Path(name)
        for measure in _subjects(options, compile_flood(folder), folder):
            print("\n".join(table.lines(measure())), flush=True)
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What tracing and requests cost.")
    parser.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; default: all but the last three"
    )
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=40_000, help="calls of a flood (default: %(default)s)")
    parser.add_argument("--tracees", type=int, nargs="+", default=[1, 8], help="busy threads (default: 1 8)")
    parser.add_argument("--placing", nargs="+", choices=PLACINGS, default=list(PLACINGS), help="default: both")
    parser.add_argument("--threads", type=int, default=1000, help="to attach, to be born (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=500, help="to be born in a tree (default: %(default)s)")
    parser.add_argument("--milliseconds", type=int, default=1000, help="of what takes its time (default: %(default)s)")
    parser.add_argument("--exchanges", type=int, default=1000, help="of a round trip (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=1000, help="idle ones, new ones (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=600, help="of a soak, of hostile packets (default: %(default)s)")
    parser.add_argument("--first", action="store_true", help="run before all others (as root), on a busy machine")
    options = parser.parse_args(argv)
    unknown = set(options.subjects) - set(SUBJECTS)
    if unknown:
        parser.error(f"no subject {', '.join(sorted(unknown))}: choose from {', '.join(SUBJECTS)}")
    return options


def _subjects(options: argparse.Namespace, flood: Path, folder: Path) -> Iterator[Callable[[], list[Row]]]:
    """Yield what the options ask to measure, each as a function."""
    wanted = options.subjects or USUAL
    rounds = options.rounds
    if "stops" in wanted:
        for placing in options.placing:
            for tracees in options.tracees:
                setting = Setting(tracees, placing, options.calls)
                yield partial(cost_of_stops, flood, folder, setting, rounds=rounds)
    if "attaching" in wanted:
        yield partial(time_of_attaching, flood, threads=options.threads, rounds=rounds)
    if "births" in wanted:
        yield partial(cost_of_births, folder, threads=options.threads, processes=options.processes, rounds=rounds)
    if "holding" in wanted:
        yield partial(cost_of_holding, flood, folder, exchanges=options.exchanges, rounds=rounds)
    if "observers" in wanted:
        yield partial(cost_of_observers, flood, folder, calls=options.calls, rounds=rounds)
    if "memory" in wanted:
        yield partial(cost_of_memory, folder, rounds=rounds)
    if "fairness" in wanted:
        yield partial(fairness, flood, folder, milliseconds=options.milliseconds, rounds=rounds)
    if "starting" in wanted:
        yield partial(cost_of_starting, folder, rounds=rounds)
    if "roundtrip" in wanted:
        yield partial(cost_of_round_trips, flood, folder, exchanges=options.exchanges, rounds=rounds)
    if "connections" in wanted:
        yield partial(cost_of_connections, folder, connections=options.connections, rounds=rounds)
    if "broker" in wanted:
        yield partial(cost_of_the_broker, connections=100, exchanges=options.exchanges, rounds=rounds)
    if "latency" in wanted:
        yield partial(latency_in_a_flood, flood, folder, milliseconds=options.milliseconds, rounds=rounds)
    if "neighbours" in wanted:
        yield partial(slow_down, folder, milliseconds=options.milliseconds // 4, rounds=rounds)
    if "recording" in wanted:
        yield partial(time_of_starting, rounds=rounds)
        yield partial(slow_down_of_commands, folder, rounds=rounds)
    if "soak" in wanted:
        yield partial(soak, folder, flood, seconds=options.seconds)
    if "hostile" in wanted:
        yield partial(hostile, folder, seconds=options.seconds)


if __name__ == "__main__":
    sys.exit(main())
