"""Where the programs run: all on one CPU, or where the scheduler puts them.

Waking a process on another CPU costs several times what a stop costs, so the scheduler's choice decides more than any
tracer does: figures are comparable only from programs pinned alike.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Placing = Literal["pinned", "free"]
PLACINGS: tuple[Placing, ...] = ("pinned", "free")


@contextlib.contextmanager
def placed(placing: Placing) -> Iterator[None]:
    """Run what is started within, and this process, as ``placing`` says; children inherit it (sched_setaffinity(2))."""
    before = os.sched_getaffinity(0)
    if placing == "pinned":
        os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running_first() -> Iterator[None]:
    """Run before everything else on the machine, with all that is started within; needs root."""
    niceness, group = os.getpriority(os.PRIO_PROCESS, 0), _autogroup("self")
    before = group.read_text().split()[-1] if group.exists() else ""
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    share_priority(os.getpid())
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        if before:
            group.write_text(before)


def share_priority(pid: int) -> None:
    """Give the session of process ``pid`` our own priority.

    A worker has a session of its own, which the kernel weighs as a whole against all others, whatever the niceness of
    its processes (sched(7), "The autogroup feature").
    """
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    if priority < 0:
        with contextlib.suppress(FileNotFoundError):
            _autogroup(str(pid)).write_text(str(priority))


def _autogroup(process: str) -> Path:
    return Path("/proc", process, "autogroup")
