"""What a connection costs: to make and end one, and to keep it, idle."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path

from benchmarks.daemon import daemon, greeted
from benchmarks.placing import placed
from benchmarks.rounds import Row, alone

AIM_EACH_MS = "2"
"""500 a second."""
AIM_DAEMON_MB = "40"
AIM_IDLE_KB = "16"


def cost_of_connections(folder: Path, *, connections: int, rounds: int) -> list[Row]:
    """Measure a daemon that is new in each round, on one CPU with its client."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    each, empty, idle = [], [], []
    for _ in range(rounds):
        with placed("pinned"), daemon(folder) as (path, pid), greeted(path):
            before = _resident(pid)
            empty.append(before / 1e6)
            with contextlib.ExitStack() as stack:
                for _ in range(connections):
                    stack.enter_context(greeted(path))
                idle.append((_resident(pid) - before) / 1e3 / connections)
            # Answered when those are gone.
            greeted(path).close()
            each.append(_milliseconds(path, connections) / connections)
    return [
        alone("connect, hello, close", each, "ms", AIM_EACH_MS),
        alone("memory of the idle daemon", empty, "MB", AIM_DAEMON_MB),
        alone(f"memory of each of {connections} idle connections", idle, "KB", AIM_IDLE_KB),
    ]


def _milliseconds(path: Path, connections: int) -> float:
    """Return the time in which so many clients come and go, one after the other."""
    started = time.monotonic()
    for _ in range(connections):
        greeted(path).close()
    return (time.monotonic() - started) * 1e3


def _resident(pid: int) -> int:
    """Return bytes of memory that a process has (proc_pid_statm(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
