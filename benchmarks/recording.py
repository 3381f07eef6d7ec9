"""What a command takes longer when it is traced, with its children: recorded by the kernel, by strace and by perf.

Measured is the command alone, from its execve to its end: a tracer is attached before, and may go on writing after.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import recorders
from benchmarks.recorders import Command, Run, Runner
from benchmarks.rounds import Row, compare, interleave
from benchmarks.spending import adopting

AIMS = {"dd": "3.5", "find": "2.0", "git status": "1.8", "imports": "1.3"}
_FUNCTIONS = 300
_FILES = 3000
_BYTES = 200_000
_SHORTER = 10
"""By how much a workload is shorter for tracers that would take a minute for it; their seconds are multiplied."""

TRACERS: dict[str, Runner] = {
    "untraced": recorders.untraced,
    "kernel, all calls": partial(recorders.attached, recorders.kernel),
    "kernel, all calls with stacks": partial(recorders.attached, partial(recorders.kernel, stacks=True)),
    "kernel, openat": partial(recorders.attached, partial(recorders.kernel, calls=("openat",))),
    "perf, all calls": partial(recorders.attached, partial(recorders.kernel, backend="perf")),
    "perf, openat": partial(recorders.attached, partial(recorders.kernel, backend="perf", calls=("openat",))),
    "strace -f -o FILE": partial(recorders.attached, recorders.strace),
    "seccomp, openat": partial(recorders.attached, partial(recorders.seccomp, calls=("openat",))),
    "strace --seccomp-bpf, openat": recorders.strace_seccomp,
    "perf trace": recorders.perf,
    "beside a trace of all calls": partial(recorders.attached, recorders.bystander),
    "beside a trace of openat": partial(recorders.attached, partial(recorders.bystander, calls=("openat",))),
}
SLOW = {"strace -f -o FILE", "perf trace"}


def slow_down(folder: Path, *, rounds: int) -> list[Row]:
    """Return how much longer each command takes with each tracer, and what that spends and loses."""
    tracers = dict(TRACERS)
    if (why := recorders.no_perf(folder)) is not None:
        print(f"perf trace is not compared: {why}", file=sys.stderr)
        del tracers["perf trace"]
    rows = []
    with adopting():
        for name, command in workloads(folder).items():
            rows += _compared(name, command, tracers, folder, rounds)
    return rows


def _compared(name: str, command: Command, tracers: dict[str, Runner], folder: Path, rounds: int) -> list[Row]:
    """Return the rows of one command."""
    runs: dict[str, list[Run]] = {}

    def measure(title: str, run: Callable[[], Run]) -> float:
        runs.setdefault(title, []).append(found := run())
        return found.seconds

    recorders.untraced(command, folder)  # what is read once from the disk is not what is compared
    measures = {}
    for tracer, runner in tracers.items():
        if name == "dd" and tracer in SLOW:
            title = f"{tracer}, a tenth, times ten"
            run = partial(_scaled, runner, one_byte_at_a_time(_BYTES // _SHORTER), folder)
        else:
            title, run = tracer, partial(runner, command, folder)
        measures[title] = partial(measure, title, run)
    aims = {"kernel, all calls": AIMS.get(name, ""), "beside a trace of openat": "1.1"}
    rows = compare(interleave(measures, rounds), "untraced", prefix=name, unit="s", aims=aims)
    spent = [(median(one.cpu for one in runs[title]), max(one.lost for one in runs[title])) for title in measures]
    return [
        row if title == "untraced" or title.startswith("beside") else row._replace(cpu=cpu, lost=lost)
        for row, title, (cpu, lost) in zip(rows, measures, spent, strict=True)
    ]


def _scaled(runner: Runner, command: Command, folder: Path) -> Run:
    """Return what a command that is so much longer would take."""
    run = runner(command, folder)
    return Run(run.seconds * _SHORTER, run.cpu * _SHORTER, run.lost * _SHORTER)


def one_byte_at_a_time(count: int) -> list[str]:
    """Return a command that copies so many bytes, each with two calls."""
    return ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={count}"]


def workloads(folder: Path) -> dict[str, list[str]]:
    """Return the commands, with what they work on made in ``folder``."""
    tree = folder / "tree"
    tree.mkdir()
    for number in range(_FILES):
        (tree / f"file{number}").write_text(f"{number}\n")
    source = folder / "functions.c"
    source.write_text(
        "\n".join(
            f"int f{n}(int x) {{ int s = x; while (s > {n}) s -= {n + 1}; return s; }}" for n in range(_FUNCTIONS)
        )
    )
    found = {
        "dd": one_byte_at_a_time(_BYTES),
        "find": ["find", "/usr/lib"],
        "imports": [
            sys.executable,
            "-I",
            "-c",
            "import json, socket, subprocess, email, http.client, logging, unittest",
        ],
        "60 execs": ["sh", "-c", "i=0; while [ $i -lt 60 ]; do /bin/true; i=$((i+1)); done"],
        "gcc": ["gcc", "-O2", "-c", "-o", str(folder / "functions.o"), str(source)],
    }
    with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
        for words in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True)
        found["git status"] = ["git", "-C", str(tree), "status"]
    return found
