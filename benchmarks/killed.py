"""How long the next call takes after a process of the daemon was killed, with 20 processes attached, which run on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import anyio

from benchmarks.rounds import Row, alone
from benchmarks.system import System, system
from utracectl import aio, client
from utraced.api.daemon import Hello
from utraced.api.engine import Attach

AIM_SECONDS = 1
AIM_MS = str(AIM_SECONDS * 1000)
ATTACHED = 20
KINDS = ("worker", "template", "broker")
FIRST_GROUP = 23_000


class Client(NamedTuple):
    """One way to call: it connects, then calls ``kill`` where it has ``just_connected``, and makes its call."""

    name: str
    call: Callable[[Callable[[], None]], float]


def time_after_kills(*, rounds: int) -> list[Row]:
    """Kill each of the processes in turn, before each client's next call; a new daemon in each round."""
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="utraced-benchmarks-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            (folder / "toml").write_text("[limits]\nworkers = 100\n")
            with system(folder, "--config", str(folder / "toml")) as running, _asked_at(running.path):
                for number, (kind, each) in enumerate((kind, each) for kind in KINDS for each in CLIENTS):
                    taken = _next_call(running, kind, each, FIRST_GROUP + 2 * number)
                    found.setdefault((kind, each.name), []).append(taken)
    rows = []
    for (kind, name), times in found.items():
        row = alone(f"next call after kill -9 of the {kind}: {name}", times, "ms", AIM_MS)
        rows.append(row._replace(value=median(times)))
    return rows


def _next_call(running: System, kind: str, each: Client, group: int) -> float:
    """Return the milliseconds of a client's call after the kill; raises RuntimeError where a target did not run on.

    ``group``: other groups are another worker's, so that each call needs one that is not there yet.
    """
    with _targets() as targets, contextlib.ExitStack() as stack:
        with _in_group(group):
            attached = stack.enter_context(client.connect())
            worker = attached.call(Hello()).tracer_pid
        for pid in targets:
            attached.call(Attach(pid=pid))
        killed = {**running.processes(), "worker": worker}[kind]
        with _in_group(group if kind == "worker" else group + 1):
            taken = each.call(lambda: os.kill(killed, signal.SIGKILL))
        if kind == "worker":
            for pid in targets:
                _check_free(pid)
        elif attached.call(Hello()).tracer_pid != worker:
            raise RuntimeError("who was attached has another worker")
    return taken


def _check_free(pid: int) -> None:
    """Wait until a target runs on untraced: the next call may be answered while the killed process is still ending."""
    deadline = time.monotonic() + AIM_SECONDS
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        if "TracerPid:\t0\n" in status and any(f"State:\t{state}" in status for state in "SR"):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"target {pid} does not run on: {status[:200]}")
        time.sleep(0.001)


def _by_program(kill: Callable[[], None]) -> float:
    kill()
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "utracectl", "call", "daemon.hello"], stdout=subprocess.DEVNULL, check=True, timeout=60
    )
    return (time.monotonic() - started) * 1e3


def _by_library(kill: Callable[[], None]) -> float:
    kill()
    started = time.monotonic()
    with client.connect() as link:
        link.call(Hello(), timeout=60)
    return (time.monotonic() - started) * 1e3


def _by_library_connected(kill: Callable[[], None]) -> float:
    with client.connect() as link:
        kill()
        started = time.monotonic()
        link.call(Hello(), timeout=60)
        return (time.monotonic() - started) * 1e3


def _by_aio(kill: Callable[[], None]) -> float:
    async def call() -> float:
        kill()
        started = time.monotonic()
        async with aio.connect() as link:
            await link.call(Hello())
        return (time.monotonic() - started) * 1e3

    return anyio.run(call)


def _by_aio_connected(kill: Callable[[], None]) -> float:
    async def call() -> float:
        async with aio.connect() as link:
            kill()
            started = time.monotonic()
            await link.call(Hello())
            return (time.monotonic() - started) * 1e3

    return anyio.run(call)


CLIENTS = (
    Client("utracectl", _by_program),
    Client("utracectl.client", _by_library),
    Client("utracectl.client, just connected", _by_library_connected),
    Client("utracectl.aio", _by_aio),
    Client("utracectl.aio, just connected", _by_aio_connected),
)


@contextlib.contextmanager
def _asked_at(path: Path) -> Iterator[None]:
    """Have clients use this daemon."""
    before = os.environ.get("UTRACED_SOCKET")
    os.environ["UTRACED_SOCKET"] = str(path)
    try:
        yield
    finally:
        del os.environ["UTRACED_SOCKET"]
        if before is not None:
            os.environ["UTRACED_SOCKET"] = before


@contextlib.contextmanager
def _in_group(group: int) -> Iterator[None]:
    """Be in one more group, as which we connect."""
    before = os.getgroups()
    os.setgroups([*before, group])
    try:
        yield
    finally:
        os.setgroups(before)


@contextlib.contextmanager
def _targets() -> Iterator[list[int]]:
    """Give processes that sleep."""
    processes = [subprocess.Popen(["sleep", "1000"]) for _ in range(ATTACHED)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
