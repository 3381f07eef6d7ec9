"""What the system's broker costs: connections through it, memory, and what a round trip costs more."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.asking import Exchange, asking
from benchmarks.daemon import daemon, greeted, request_of
from benchmarks.killed import time_after_kills
from benchmarks.placing import placed
from benchmarks.rounds import Measure, Row, alone, compare, interleave
from benchmarks.system import system
from utraced.api.daemon import Hello

AIM_FIRST_MS = "30"
AIM_FURTHER_MS = "1"
AIM_BROKER_MB = "16"
AIM_WORKER_MB = "12"
FIRST_UID = 23_000


def cost_of_the_broker(*, connections: int, exchanges: int, rounds: int) -> list[Row]:
    """Measure a broker that is new, on one CPU with its clients; without root it is left out, and told."""
    if os.geteuid() != 0:
        print("the broker is not measured: it needs root", file=sys.stderr)
        return []
    # Others reach the socket only in a folder that is open to them.
    with tempfile.TemporaryDirectory(prefix="utraced-benchmarks-") as name, placed("pinned"):
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "own").mkdir()
        with system(folder) as running, daemon(folder / "own") as (own, _):
            path, pid = running.path, running.pid
            first: list[float] = []
            further: list[float] = []
            for round_ in range(rounds):
                times = _connections(path, FIRST_UID + round_, connections)
                first.append(times[0])
                further.append(median(times[1:]))
            rows = [
                alone("first connection of a user", first, "ms", AIM_FIRST_MS),
                alone("further connections of a user", further, "ms", AIM_FURTHER_MS),
                alone("memory of the broker (RSS)", [_memory(pid, "Rss")], "MB", AIM_BROKER_MB),
                alone("memory of the broker (PSS)", [_memory(pid, "Pss")], "MB"),
            ]
            with greeted(path) as through, greeted(own) as direct:
                worker = int(re.findall(rb'"tracer_pid":(\d+)', _hello(through))[0])
                rows.append(alone("memory of a worker of its own", [_private(worker)], "MB", AIM_WORKER_MB))
                asked = {"without": asking(direct, _REQUEST), "with a broker": asking(through, _REQUEST)}
                found = interleave({name: _timed(ask, exchanges) for name, ask in asked.items()}, rounds)
                rows += compare(found, "without", prefix="round trip", unit="us", aims={"with a broker": "1"})
    return rows + time_after_kills(rounds=rounds)


_REQUEST = request_of(Hello())


def _hello(sock: socket.socket) -> bytes:
    sock.send(_REQUEST)
    return sock.recv(1 << 17)


def _timed(ask: Exchange, exchanges: int) -> Measure:
    def measure() -> float:
        started = time.monotonic()
        for _ in range(exchanges):
            ask()
        return (time.monotonic() - started) * 1e6 / exchanges

    return measure


def _connections(path: Path, uid: int, count: int) -> list[float]:
    """Return the milliseconds from connect to the first reply of each of a user's connections, one after the other."""
    script = (
        "import socket, sys, time\n"
        "request, times = bytes.fromhex(sys.argv[2]), []\n"
        "kept = []\n"
        "for _ in range(int(sys.argv[3])):\n"
        "    started = time.monotonic()\n"
        "    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "    sock.connect(sys.argv[1]); sock.send(request); sock.recv(1 << 17)\n"
        "    times.append((time.monotonic() - started) * 1e3)\n"
        "    kept = [sock]\n"
        "print(*times)\n"
    )
    words = ["/usr/bin/python3", "-I", "-c", script, str(path), _REQUEST.hex(), str(count + 1)]
    done = subprocess.run(words, user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def _memory(pid: int, kind: str) -> float:
    """Return megabytes of memory (proc_pid_smaps(5))."""
    return sum(map(int, re.findall(rf"^{kind}: +(\d+) kB", _smaps(pid), re.MULTILINE))) / 1e3


def _private(pid: int) -> float:
    """Return the megabytes that a process shares with no other."""
    return _memory(pid, "Private_Dirty") + _memory(pid, "Private_Clean")


def _smaps(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text()
