"""A soak of traces that the kernel records: floods, trees of processes and searches, traced and let go for a long time.

Nothing here is a ratio: the daemon and its attacher must live on, every trace must tell what it lost, and neither the
memory nor the descriptors of both may grow.  Both are looked at in pauses: at any other moment records wait, which are
memory too.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.daemon import connected, daemon
from benchmarks.rounds import Row, alone
from benchmarks.spending import adopting, children_named
from utracectl.client import Client
from utraced.api import call_records as records
from utraced.api.events import Detached, Event, Lost, Records, Syscall
from utraced.api.trace import Start, Stop
from utraced.attacher.starting import NAME
from utraced.errors import Gone

CLIENTS = 3
"""Each with a connection of its own, and a trace on it at a time."""
PAUSES = 10
"""The first of which is not looked at: what is used once is loaded by then."""
QUIET, SETTLING = 2.0, 5.0
"""Seconds after which stays what has not become less, and after which it stays in any case."""
MORE_KIB, MORE_FDS = 16_384, 8
"""What a process may have more than when it was warm: the allocator's slack, a trace that is just closing."""
STOPPED = 0.2
"""Of the traces, how many are stopped while their process still runs."""
ABANDONED = 0.1
"""Of the connections, how many are closed after a trace was started, which then ends with them."""

_PROBE = "/usr/share/doc"
_OPTIONS: tuple[dict[str, Any], ...] = (
    {"deliver": "raw", "overflow": "block"},
    {"deliver": "raw"},
    {"overflow": "block", "strings": 200},
    {"syscalls": ("openat", "getppid", "execve"), "entries": True},
    {"failed_only": True},
    {"stacks": True, "deliver": "raw"},
    {"stacks": True, "syscalls": ("openat", "execve")},
    {"backend": "perf", "deliver": "raw"},
    {"backend": "perf", "syscalls": ("getppid", "openat"), "failed_only": True},
)


class Look(NamedTuple):
    """What a process has: kibibytes of memory of its own, and descriptors."""

    kib: int
    fds: int


class Soak:
    """A daemon at ``path``, process ``pid``, and what has been seen of its traces."""

    def __init__(self, path: Path, pid: int, flood: Path) -> None:
        self.path = path
        self.pid = pid
        self._flood = flood
        self._end = 0.0
        self._lock = threading.Lock()
        self.traces = self.told = self.lost = 0

    def trace(self, seed: int) -> None:
        """Trace one program after the other until the end."""
        chance = random.Random(seed)
        while time.monotonic() < self._end:
            with connected(self.path) as client:
                while time.monotonic() < self._end and chance.random() > ABANDONED:
                    self.one(client, chance)
                with self._program(chance) as process:
                    client.call(Start(pid=process.pid, backend="kernel", follow=True))

    def begin(self, seconds: float) -> None:
        """From now on it lasts so long, until the next pause."""
        self._end = time.monotonic() + seconds

    def stop(self) -> None:
        """End before the time."""
        self._end = 0

    def processes(self) -> list[tuple[str, int]]:
        """Return the names and the pids of the daemon's processes."""
        found = children_named(NAME)
        if len(found) != 1:
            raise RuntimeError(f"there are {len(found)} attachers")
        return [("worker", self.pid), ("attacher", found[0])]

    def one(self, client: Client, chance: random.Random) -> None:
        """Trace one program, to its end or for a while, and count what is told of it."""
        with self._program(chance) as process:
            started = client.call(
                Start(pid=process.pid, follow=True, **{"backend": "kernel", **chance.choice(_OPTIONS)})
            )
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            if chance.random() < STOPPED:
                time.sleep(chance.random() / 10)
                with contextlib.suppress(Gone):  # its process has ended meanwhile
                    client.call(Stop(trace=started.trace))
            told = lost = 0
            for event in client.events():
                told += _amount(event)
                lost += event.count if isinstance(event, Lost) else 0
                if isinstance(event, Detached) and event.delivered is not None:
                    if (event.delivered, event.lost) != (told, lost):
                        raise RuntimeError(f"{event} is told after {told} calls, {lost} lost")
                    break
        with self._lock:
            self.traces += 1
            self.told += told
            self.lost += lost

    @contextlib.contextmanager
    def _program(self, chance: random.Random) -> Iterator[subprocess.Popen[bytes]]:
        """Give a program that begins when it is written a line."""
        commands: Sequence[Sequence[str | Path]] = (
            [self._flood, "calls", "2", "50000"],
            [self._flood, "time", "1", "300"],
            ["sh", "-c", "read go; i=0; while [ $i -lt 30 ]; do /bin/true; i=$((i+1)); done"],
            ["sh", "-c", f"read go; exec find {_PROBE}"],
            [sys.executable, "-I", "-S", "-c", "input(); import json, socket"],
        )
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*chance.choice(commands)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def soak(folder: Path, flood: Path, *, seconds: float) -> list[Row]:
    """Trace programs for ``seconds``; return what was seen.

    Raises RuntimeError where a trace counted wrongly, the attacher ended, or the daemon or the attacher grew.
    """
    with adopting(), daemon(folder) as (path, pid), _sleeping() as sleeper, connected(path) as client:
        # One trace that lasts keeps the attacher, as on a machine where somebody always traces.
        client.call(Start(pid=sleeper, backend="kernel", syscalls=("acct",)))
        found = Soak(path, pid, flood)
        with connected(path) as first:
            found.one(first, random.Random(0))
        before = {name: _settled(of) for name, of in found.processes()}
        looks = []
        for pause in range(PAUSES):
            found.begin(seconds / PAUSES)
            with ThreadPoolExecutor(CLIENTS) as pool:
                for task in as_completed([pool.submit(found.trace, pause * CLIENTS + each) for each in range(CLIENTS)]):
                    if task.exception() is not None:
                        found.stop()
                    task.result()
            looks.append({name: _settled(of, most=before[name].fds + MORE_FDS) for name, of in found.processes()})
    return _rows(found, seconds, before, looks[1:])


@contextlib.contextmanager
def _sleeping() -> Iterator[int]:
    """Give the pid of a process that does nothing."""
    process = subprocess.Popen(["sleep", "infinity"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _rows(found: Soak, seconds: float, before: Mapping[str, Look], pauses: Sequence[Mapping[str, Look]]) -> list[Row]:
    """Return what was seen; raises RuntimeError where a process grew."""
    rows = [
        alone("traces, in all", [found.traces], ""),
        alone("calls and records told, each second", [found.told / seconds], ""),
        alone("lost of a thousand, counted", [1000 * found.lost / max(1, found.told + found.lost)], ""),
    ]
    for name in ("worker", "attacher"):
        looks = [seen[name] for seen in pauses]
        half = len(looks) // 2
        early, late = (min(each.kib for each in part) for part in (looks[:half], looks[half:]))
        after = looks[-1]
        rows.append(alone(f"memory of the {name} in pauses, MiB", [each.kib / 1024 for each in looks], ""))
        rows.append(alone(f"descriptors of the {name}, before and after", [before[name].fds, after.fds], ""))
        if late > early + MORE_KIB or after.fds > before[name].fds + MORE_FDS:
            raise RuntimeError(f"the {name} grew from {early} to {late} KiB, {before[name]} to {after}")
    return rows


def _settled(pid: int, most: int = 0) -> Look:
    """Return a look at a process once for a while it has had no less, or at most so many descriptors."""
    found, since = _look(pid), time.monotonic()
    begun = since
    while (now := time.monotonic()) < since + QUIET and now < begun + SETTLING + QUIET:
        time.sleep(0.05)
        seen = _look(pid)
        if seen.kib < found.kib or (seen.fds < found.fds and found.fds > most):
            found, since = seen, now
    return found


def _look(pid: int) -> Look:
    status = Path(f"/proc/{pid}/status").read_text()
    return Look(int(status.split("RssAnon:")[1].split()[0]), len(os.listdir(f"/proc/{pid}/fd")))


def _amount(event: Event) -> int:
    """Return how many calls, or records, an event tells."""
    if isinstance(event, Records):
        count = sum(1 for _ in records.heads(event.data))
        if count != event.count:
            raise RuntimeError(f"{event.count} records are {count}")
        return count
    return int(isinstance(event, Syscall))
