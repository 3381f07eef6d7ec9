"""What processes spend of the CPUs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from utraced.linux.prctl import prctl

_PR_SET_CHILD_SUBREAPER = 36
_CPUCLOCK_SCHED = 2
"""Of a whole process (include/linux/posix-timers_types.h)."""
ENDING = 5.0
"""Seconds in which an attacher ends whose daemon has gone."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the seconds that these processes have run, with threads that are gone; also of ones that are not reaped.

    By the clock that clock_getcpuclockid(3) names; one that is gone has run for none.
    """
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    return total


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Have orphans among our descendants become our children, so that they can be found.

    An attacher is one: it is nobody's child.  Those of ours that have ended are reaped at the end.
    """
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0)
        for pid, name, _ in _children():
            if name.startswith("utraced"):
                _reap(pid)


def _reap(pid: int) -> None:
    """Wait for the end of a process that ends by itself."""
    end = time.monotonic() + ENDING
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
            time.sleep(0.01)


def children_named(name: str) -> list[int]:
    """Return our children of this name that have not ended, the youngest last."""
    found = [pid for pid, named, state in _children() if named == name and state != "Z"]
    return sorted(found, key=_started)


def _children() -> Iterator[tuple[int, str, str]]:
    """Give the pid, the name and the letter of the state of each child."""
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, path.read_text().split()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
                yield pid, name, rest.split()[0]


def _started(pid: int) -> int:
    """Return when a process started, in clock ticks since the machine did; 0 where it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    return 0
