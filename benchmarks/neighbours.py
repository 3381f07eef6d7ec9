"""What one client does to others: how much slower they are beside it than beside one that behaves.

"Slower" is what the author of a client would see, of three: one that asks now and then (the median time of its
answers), one that asks without pause (the same), and one that keeps several requests on their way (time for each).  The
first leaves the loop free most of the time, and is compared with itself alone.  The others would fill it, and share it
with whoever else does: they are compared with themselves beside a client that always has some requests on their way and
reads every answer, which takes its fair share.  A packet cannot be interrupted, so one answer may come later by the
time that a packet of the neighbour's takes; it is the medians that must hold.

The daemon has one CPU, the clients the other, where the neighbour runs when the measured client does not: how the
kernel shares out CPUs is not what is measured.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socket
from socket import send_fds as send_with_fds
from statistics import median

from benchmarks.asking import asking, summary
from benchmarks.daemon import daemon, greeted, request_of
from benchmarks.hostile_packets import dear_packets
from benchmarks.rounds import Row
from utraced.api.daemon import Hello
from utraced.api.engine import List as ListEngines
from utraced.api.process import List as ListProcesses

AIM = "1.2"
PAUSE = 0.003
"""Seconds between the questions of a client that asks now and then."""
AHEAD = 8
"""Requests on their way of a client that keeps several."""
QUEUED = 32
"""The same of the neighbour that behaves, so that it always has something to be done."""
REMEMBERED = 10_000
DRIP = 0.0005
"""Seconds between the bytes of one that drips."""
SETTLING = 20.0
"""Seconds in which connections that were left have ended."""

Neighbour = Callable[[Path], None]
"""Connects, and behaves in its way until it is killed."""


def slow_down(folder: Path, *, milliseconds: int, rounds: int) -> list[Row]:
    """Measure each client beside each neighbour, and right before as it is to be compared.

    Raises ``RuntimeError`` where descriptors of a neighbour stay behind.
    """
    ours, theirs = _two_cpus()
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    kept: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        with _pinned(ours):
            stack.enter_context(_awake(ours))
            path, pid = stack.enter_context(daemon(folder))
        stack.enter_context(_pinned(theirs))
        beside = partial(_beside, path, theirs)
        for neighbour in NEIGHBOURS.values():  # what is loaded and cached when first used is not growth
            beside(neighbour, partial(_now_and_then, path, 0.1))
        for _ in range(rounds):
            for name, neighbour in NEIGHBOURS.items():
                before = _state(pid)
                for client, measure in CLIENTS.items():
                    once = partial(measure, path, milliseconds / 1000)
                    taken = beside(COMPARED[client], once), beside(neighbour, once)
                    found.setdefault((client, name), []).append(taken)
                kept.setdefault(name, []).append(_settled(pid, before) - before[0])
    return [_row(f"{client} beside one that {name}", taken) for (client, name), taken in found.items()] + [
        Row(f"memory kept of one that {name}", median(sizes), "KB", None, min(sizes), max(sizes))
        for name, sizes in kept.items()
    ]


def _row(name: str, taken: list[tuple[float, float]]) -> Row:
    """Return the time beside a neighbour, and its ratio to the time compared with."""
    ratios = [beside / before for before, beside in taken]
    value = median(beside for _, beside in taken)
    return Row(name, value, "µs", median(ratios), min(ratios), max(ratios), AIM)


def _now_and_then(path: Path, seconds: float) -> float:
    return _asked(path, seconds, PAUSE)


def _without_pause(path: Path, seconds: float) -> float:
    return _asked(path, seconds, 0)


def _asked(path: Path, seconds: float, pause: float) -> float:
    """Return the median of the microseconds of an answer."""
    taken: list[int] = []
    with greeted(path) as sock:
        hello = asking(sock, request_of(Hello()))
        end = time.monotonic() + seconds
        while not taken or time.monotonic() < end:
            started = time.perf_counter_ns()
            hello()
            taken.append(time.perf_counter_ns() - started)
            if pause:
                time.sleep(pause)
    return summary(taken).median


def _several(path: Path, seconds: float) -> float:
    """Return the microseconds for each answer."""
    request = request_of(Hello())
    count = 0
    ids = cycle(request.replace(b'"id":1,', b'"id":%d,' % (10 + number)) for number in range(AHEAD))
    with greeted(path) as sock:
        started = time.monotonic()
        for _ in range(AHEAD):
            sock.send(next(ids))
        while not count or time.monotonic() < started + seconds:
            sock.recv(1 << 16)
            sock.send(next(ids))
            count += 1
        return (time.monotonic() - started) * 1e6 / count


NOW_AND_THEN, WITHOUT_PAUSE, SEVERAL = "now and then", "without pause", f"{AHEAD} at a time"
CLIENTS = {NOW_AND_THEN: _now_and_then, WITHOUT_PAUSE: _without_pause, SEVERAL: _several}


def _beside(path: Path, cpu: int, neighbour: Neighbour, measure: Callable[[], float]) -> float:
    """Measure while the neighbour, a child on its own CPU, does what it does."""
    ready, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.sched_setaffinity(0, {cpu})
            os.nice(19)
            signal.alarm(60)  # whatever becomes of its parent
            os.close(ready)
            os.close(write)
            neighbour(path)
        finally:
            os._exit(1)
    os.close(write)
    os.read(ready, 1)
    os.close(ready)
    try:
        return measure()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _behaves(path: Path) -> None:
    """Keep requests on their way that take about as long as those of the measured client, and read each answer."""
    packets = cycle(
        request_of(request).replace(b'"id":1,', b'"id":%d,' % (10 + number))
        for number in range(QUEUED)
        for request in (Hello(), ListEngines())
    )
    with greeted(path) as sock:
        for _ in range(QUEUED):
            sock.send(next(packets))
        while True:
            sock.recv(1 << 16)
            sock.send(next(packets))


def _is_idle(_path: Path) -> None:
    """Do nothing, without a connection."""
    signal.pause()


COMPARED: dict[str, Neighbour] = {NOW_AND_THEN: _is_idle, WITHOUT_PAUSE: _behaves, SEVERAL: _behaves}


def _sends(packets: list[bytes], path: Path, *, reads: bool, fds: int = 0) -> None:
    """Send without pause, as fast as the daemon takes it; where ``reads``, take what comes."""
    descriptors = [0] * fds
    while True:
        with contextlib.suppress(ConnectionError), _connected(path) as sock:
            for packet in cycle(packets):
                try:
                    send_with_fds(sock, [packet], descriptors)
                except BlockingIOError:
                    if not reads:
                        time.sleep(0.0002)
                if reads:
                    with contextlib.suppress(BlockingIOError):
                        while sock.recv(1 << 18):
                            pass


def _gathers(path: Path) -> None:
    """Ask many questions, then read the answers."""
    request = request_of(Hello())
    while True:
        with contextlib.suppress(ConnectionError), _connected(path) as sock:
            sent = 0
            until = time.monotonic() + 1
            while sent < REMEMBERED and time.monotonic() < until:
                with contextlib.suppress(BlockingIOError):
                    sock.send(request.replace(b'"id":1,', b'"id":%d,' % (sent + 10)))
                    sent += 1
            sock.setblocking(True)
            sock.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                while sock.recv(1 << 18):
                    pass


def _drips(path: Path) -> None:
    """Send a byte now and then, which is no message, and read a little."""
    while True:
        with contextlib.suppress(ConnectionError), _connected(path) as sock:
            for byte in cycle(b'{"jsonrpc"'):
                with contextlib.suppress(BlockingIOError):
                    sock.send(bytes((byte,)))
                    sock.recv(1)
                time.sleep(DRIP)


def _connects(path: Path) -> None:
    while True:
        _connected(path).close()


_HELLO = request_of(Hello())
NEIGHBOURS: dict[str, Neighbour] = {
    "does not read": partial(_sends, [_HELLO], reads=False),
    "floods": partial(_sends, [_HELLO.replace(b'"id":1,', b"")], reads=False),
    "drips": _drips,
    f"asks {REMEMBERED} times, then reads": _gathers,
    "passes descriptors": partial(_sends, [_HELLO], reads=True, fds=16),
    "lists processes": partial(_sends, [request_of(ListProcesses())], reads=True),
    "connects": _connects,
    **{f"sends {name}": partial(_sends, packets, reads=True) for name, packets in dear_packets().items()},
}


def _connected(path: Path) -> socket:
    sock = socket(AF_UNIX, SOCK_SEQPACKET)
    sock.connect(str(path))
    sock.setblocking(False)
    return sock


def _two_cpus() -> tuple[int, int]:
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0], cpus[-1]


@contextlib.contextmanager
def _awake(cpu: int) -> Iterator[None]:
    """Keep a CPU from sleeping, with a child that runs when nobody else would: in a virtual machine waking takes longer
    than an answer, and only a client whose neighbours rest would pay for that.
    """
    child = os.fork()
    if child == 0:
        try:
            os.sched_setaffinity(0, {cpu})
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            signal.alarm(600)
            while True:
                pass
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@contextlib.contextmanager
def _pinned(cpu: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _state(pid: int) -> tuple[float, int]:
    """Return a process's resident memory in KB, and how many descriptors it has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e3, len(os.listdir(f"/proc/{pid}/fd"))


def _settled(pid: int, before: tuple[float, int]) -> float:
    """Return the memory when the descriptors are again as many as before."""
    end = time.monotonic() + SETTLING
    while (now := _state(pid))[1] > before[1]:
        if time.monotonic() > end:
            raise RuntimeError(f"{now[1] - before[1]} descriptors stay behind")
        time.sleep(0.01)
    return now[0]
