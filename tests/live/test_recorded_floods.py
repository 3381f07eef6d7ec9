"""Floods of system calls: all are told at a hundred thousand a second; beyond, the count of the lost is exact."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import Literal, NamedTuple

import pytest

from tests.children import needs_root
from tests.kernel.recording import needs_bpf
from tests.live.conftest import Programs
from tests.live.machine import running, status, until
from utracectl.client import Client
from utraced.api import call_records as records
from utraced.api import events, trace
from utraced.kernel.bpf_layout import COUNTERS, COUNTERS_SIZE

pytestmark = needs_root

Deliver = Literal["events", "raw"]
Overflow = Literal["drop", "block"]
Backend = Literal["kernel", "perf"]
both = pytest.mark.parametrize("backend", ["kernel", "perf"])


@pytest.fixture(autouse=True)
def _needs_bpf() -> None:
    needs_bpf()


class Told(NamedTuple):
    """What was told of a flood: calls, or records with ``raw``; ``lost`` as the events along the way have it."""

    told: int
    lost: int
    last: events.Detached


def read(client: Client) -> Told:
    """Return what is told until the trace is over."""
    found: Counter[str] = Counter()
    for event in client.events():
        match event:
            case events.Syscall():
                found["told"] += 1
            case events.Records():
                heads = sum(1 for _ in records.heads(event.data))
                assert event.count == heads
                found["told"] += heads
            case events.Lost():
                found["lost"] += event.count
            case events.Detached():
                return Told(found["told"], found["lost"], event)
            case _:
                pass
    raise AssertionError("the stream ended")


def flooded(
    client: Client,
    program: Path,
    flood: tuple[int, int, int],
    backend: Backend,
    *,
    deliver: Deliver,
    overflow: Overflow,
    stopped: int | None = None,
) -> Told:
    """Return what is told of a flood of ``(threads, calls, rate)``; ``stopped`` is a worker that sleeps meanwhile."""
    with running([program, *map(str, flood)], stdin=PIPE) as process:
        client.call(
            trace.Start(pid=process.pid, backend=backend, deliver=deliver, overflow=overflow, syscalls=("getppid",))
        )
        if stopped is not None:
            os.kill(stopped, signal.SIGSTOP)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            if stopped is not None:
                assert process.stdout.readline()
                until(lambda: status(process.pid).get("State", "Z")[0] == "Z", "the end of the flood")
                if backend == "perf":  # what it did waits to be looked at: only then it finds no room
                    until(lambda: written(stopped), "the end of what is written of it")
        finally:
            if stopped is not None:
                os.kill(stopped, signal.SIGCONT)
        return read(client)


def written(worker: int) -> bool:
    """Tell whether all is in the ring that a worker reads from, or counted: the attacher has the counters open too."""
    name = "/memfd:utraced_count"
    (inode,) = {line.split()[4] for line in Path(f"/proc/{worker}/maps").read_text().splitlines() if name in line}
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(FileNotFoundError, PermissionError):  # it has ended, or is the machine's first
            if str(fd.readlink()).startswith(name) and str(fd.stat().st_ino) == inode:
                return COUNTERS.unpack(fd.read_bytes()[:COUNTERS_SIZE])[0] < 0
    raise AssertionError("nobody writes")


def check(told: Told, flood: tuple[int, int, int], deliver: Deliver) -> None:
    """Check that everything was told or counted, once."""
    threads, calls, _ = flood
    made = threads * calls
    if deliver == "raw":
        made = 2 * made + (threads - 1) + threads  # entries, exits, births, deaths
    assert (told.last.delivered, told.last.lost) == (told.told, told.lost)
    assert told.told + told.lost == made
    assert told.last.reason == "target_exited"


@both
@pytest.mark.parametrize("deliver", ["events", "raw"])
def test_all_of_a_hundred_thousand_a_second_are_told(
    client: Client, programs: Programs, deliver: Deliver, backend: Backend
) -> None:
    flood = (2, 40_000, 100_000)
    told = flooded(client, programs("calling"), flood, backend, deliver=deliver, overflow="block")
    check(told, flood, deliver)
    assert told.lost == 0


@both
@pytest.mark.parametrize("overflow", ["drop", "block"])
@pytest.mark.parametrize("deliver", ["events", "raw"])
def test_as_many_as_the_machine_can_make(
    client: Client, programs: Programs, deliver: Deliver, overflow: Overflow, backend: Backend
) -> None:
    flood = (3, 30_000, 0)
    check(flooded(client, programs("calling"), flood, backend, deliver=deliver, overflow=overflow), flood, deliver)


@both
@pytest.mark.parametrize(
    ("deliver", "overflow", "calls"), [("events", "drop", 90_000), ("raw", "drop", 90_000), ("raw", "block", 300_000)]
)
def test_what_finds_no_room_in_the_ring_is_counted(  # noqa: PLR0917 - what it is tried with
    client: Client, programs: Programs, deliver: Deliver, overflow: Overflow, calls: int, backend: Backend
) -> None:
    flood = (2, calls, 0)
    told = flooded(
        client, programs("calling"), flood, backend, deliver=deliver, overflow=overflow, stopped=client.worker
    )
    check(told, flood, deliver)
    assert told.lost > 0
