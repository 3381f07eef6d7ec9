"""What starting costs."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.rounds import Row, alone, compare, interleave

AIM_MS = "80"


def cost_of_starting(folder: Path, *, rounds: int) -> list[Row]:
    """Measure the CPU time of ``utracectl --version``, and a trace of true(1) from end to end."""
    ctl = [sys.executable, "-m", "utracectl"]
    processor = interleave(
        {
            "CPU time of python -c pass": partial(_cpu_ms, [sys.executable, "-c", "pass"]),
            "CPU time of utracectl --version": partial(_cpu_ms, [*ctl, "--version"]),
        },
        rounds,
    )
    rows = [alone(name, values, "ms", AIM_MS if "--version" in name else "") for name, values in processor.items()]
    whole = interleave(
        {
            "strace": partial(_wall_ms, ["strace", "-f", "-o", str(folder / "strace.out"), "true"]),
            "utracectl": partial(_wall_ms, [*ctl, "trace", "-f", "-o", str(folder / "utracectl.out"), "--", "true"]),
        },
        rounds,
    )
    return rows + compare(whole, "strace", prefix="trace true(1), start to end", unit="ms", aims={})


def _cpu_ms(command: Sequence[str]) -> float:
    """Return milliseconds of CPU, user and system, of a command and of what it waited for (getrusage(2))."""
    usage = _run(command)
    return (usage.ru_utime + usage.ru_stime) * 1e3


def _wall_ms(command: Sequence[str]) -> float:
    """Return milliseconds from start to end of a command."""
    started = time.monotonic()
    _run(command)
    return (time.monotonic() - started) * 1e3


def _run(command: Sequence[str]) -> resource.struct_rusage:
    """Run a command, its output thrown away, and return what it used."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawnp(command[0], list(command), os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    used: resource.struct_rusage = usage
    return used
