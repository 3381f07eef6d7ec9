"""The tracers that are compared, each attached to a running process until that ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.placing import share_priority
from utracectl.client import Client
from utracectl.connect import start_worker
from utraced.api.trace import Start

Tracer = Callable[[int, Path], AbstractContextManager[Callable[[], None]]]
"""Attach to a process, all threads, with a folder for output; then a function waits until the last event is out."""

MAX_PACKET = 1 << 20


@contextlib.contextmanager
def strace(pid: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Attach strace, which writes its text to a file."""
    with _program(["strace", "-f", "-o", str(folder / "strace.out"), "-p", str(pid)], pid) as finish:
        yield finish


@contextlib.contextmanager
def text(pid: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Attach ``utracectl trace`` with a worker of its own, which writes its text to a file."""
    command = [sys.executable, "-m", "utracectl", "trace", "--backend", "ptrace"]
    with _program([*command, "-f", "-o", str(folder / "utracectl.out"), "-p", str(pid)], pid) as finish:
        yield finish


@contextlib.contextmanager
def discard(pid: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Attach a worker, whose typed events are read, whole and none lost, and thrown away."""
    with worker() as client:
        client.call(Start(pid=pid, follow=True, backend="ptrace", overflow="block"))
        yield lambda: _read_to_end(client.fileno())


@contextlib.contextmanager
def worker() -> Iterator[Client]:
    """Start a worker; when it is left, it has ended."""
    link = start_worker()
    if link.worker is not None:
        share_priority(link.worker)
    try:
        with Client(link.socket, worker=link.worker) as client:
            yield client
    finally:
        if link.worker is not None:
            os.waitpid(link.worker, 0)


def tracer_pids(pid: int) -> list[int]:
    """Return for each thread of a process the pid of its tracer, 0 where it has none (proc_pid_status(5))."""
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(int(status.read_text().split("TracerPid:")[1].split()[0]))
    return found


@contextlib.contextmanager
def _program(command: list[str], pid: int) -> Iterator[Callable[[], None]]:
    """Run a tracing program that is attached to ``pid``, all its threads."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not all(tracer_pids(pid)):
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(f"{command[0]} ended: {process.stderr.read().decode().strip()}")
            time.sleep(0.01)
        for tracer in set(tracer_pids(pid)):
            share_priority(tracer)
        yield lambda: _finish(process)
    finally:
        process.kill()
        process.communicate()


def _finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a tracing program to end as its tracee did."""
    if process.wait() != 0:
        raise RuntimeError(f"the tracer ended with status {process.returncode}")


def _read_to_end(fd: int) -> None:
    """Read packets until the one that ends the trace."""
    os.set_blocking(fd, True)
    while True:
        packet = os.read(fd, MAX_PACKET)
        if not packet:
            raise RuntimeError("the worker hung up")
        if b"detached" in packet:
            return
