"""What it costs to read memory: by memory.read in its three ways, and by a plain read of /proc/PID/mem."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.daemon import connected, daemon
from benchmarks.placing import placed
from benchmarks.programs import running
from benchmarks.rounds import Row, compare, interleave
from utracectl.client import Client
from utraced.api.memory import Read
from utraced.model import Hex

PLAIN = "a plain read"
SIZES = {"4 KiB": 4096, "64 KiB": 65_536, "1 MiB": 1 << 20, "64 MiB": 64 << 20}
ONE_REPLY = 65_536
SPENT = 64 << 20
"""Bytes that are read for one figure, and at most so many times."""
MOST = 200
TARGET = """
import ctypes, mmap, os, signal
area = mmap.mmap(-1, 64 << 20)
area.write(bytes(range(256)) * (len(area) // 256))
print(os.getpid(), ctypes.addressof(ctypes.c_char.from_buffer(area)), flush=True)
signal.pause()
"""


def cost_of_memory(folder: Path, *, rounds: int) -> list[Row]:
    """Compare, on one CPU, and give each size its rows."""
    rows: list[Row] = []
    with placed("pinned"), daemon(folder) as (path, _), connected(path) as client, _target() as (pid, address):
        for name, size in SIZES.items():
            with _ways(client, pid, address, size) as ways:
                found = interleave({way: partial(_one, read, size) for way, read in ways.items()}, rounds)
            rows += compare(found, PLAIN, prefix=f"read {name}", unit="µs", aims={})
    return rows


@contextlib.contextmanager
def _ways(client: Client, pid: int, address: int, size: int) -> Iterator[dict[str, Callable[[], object]]]:
    """Yield the ways to read so much."""
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    kept = os.memfd_create("kept")
    buffer = bytearray(size)

    def plain() -> None:
        os.preadv(memory, [buffer], address)

    def into(fd: int) -> None:
        client.call(Read(pid=pid, address=Hex(address), size=size, fd=0), [fd])

    def fresh() -> None:
        fd = os.memfd_create("fresh")
        into(fd)
        os.close(fd)

    ways: dict[str, Callable[[], object]] = {PLAIN: plain}
    if size <= ONE_REPLY:
        ways["memory.read"] = lambda: client.call(Read(pid=pid, address=Hex(address), size=size))
    ways |= {"memory.read into a new memfd": fresh, "memory.read into one that is kept": lambda: into(kept)}
    try:
        yield ways
    finally:
        os.close(memory)
        os.close(kept)


def _one(read: Callable[[], object], size: int) -> float:
    """Return microseconds of a read, after one to warm up."""
    read()
    times = max(1, min(MOST, SPENT // size))
    started = time.perf_counter()
    for _ in range(times):
        read()
    return (time.perf_counter() - started) * 1e6 / times


@contextlib.contextmanager
def _target() -> Iterator[tuple[int, int]]:
    """Yield a process and where it has 64 MiB."""
    with running([sys.executable, "-c", TARGET]) as line:
        pid, address = map(int, line.split())
        yield pid, address
