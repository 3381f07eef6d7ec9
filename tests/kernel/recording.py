"""Recordings of real processes for the tests: records in, as values; skips where the kernel does not let us."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.children import gated
from utraced.api import call_records as records
from utraced.kernel import tracepoints
from utraced.kernel.bpf_captures import largest
from utraced.kernel.bpf_layout import PLANS, Guard, Settings, cast_of, needs, offsets_of, plan
from utraced.kernel.bpf_recording import ByCall, Recording, knows_loops
from utraced.kernel.bpf_ring import Counters, Ring
from utraced.kernel.btf import Btf, read_btf
from utraced.kernel.event_pool import EventPool
from utraced.linux.attaching import VMLINUX
from utraced.syscalls.abi import ABIS
from utraced.syscalls.captures import captures_of

POOL = EventPool(kept=0)
ANY_TIME = (0, (1 << 64) - 1)
RING = 1 << 20
ABI = ABIS["x86_64"]


class Record(NamedTuple):
    """One record, taken apart: ``numbers`` are its own part, ``memory`` its fragments."""

    what: int
    name: str
    pid: int
    tid: int
    numbers: tuple[int, ...]
    memory: list[records.Fragment]
    body: bytes
    time_ns: int


_PARTS = {
    records.ENTRY: records.ENTERED,
    records.EXIT: records.RETURNED,
    records.CLONE: records.CLONED,
    records.EXEC: records.EXECED,
    records.DEATH: records.DIED,
}


def needs_bpf() -> Btf:
    """Return the kernel's types; skips the test where nothing can be recorded."""
    if os.geteuid() != 0:
        pytest.skip("only root may load programs")
    if not Path(VMLINUX).exists():
        pytest.skip(f"this kernel does not tell its types: {VMLINUX}")
    return read_btf(VMLINUX)


@contextmanager
def recording(
    *calls: str,
    guard: Guard | None = None,
    follow: bool = False,
    strings: int = 32,
    ring: int = RING,
    attached: bool = True,
    by_call: bool = False,
    stacks: bool = False,
    failed_only: bool = False,
    prefix: bytes = b"",
    loops: bool = True,
) -> Iterator[Recording]:
    """Give a recording of these calls, of no process yet; ``by_call``: of 32-bit programs too."""
    btf = needs_bpf()
    numbers = [ABI.numbers[name] for name in calls if ABI.numbers[name] < PLANS // 2]
    plans = {nr: plan(captures_of(ABI, nr), strings=strings, largest=largest(strings)) for nr in numbers}
    tied = None
    if by_call:
        tied = ByCall(POOL, tuple(of_call(name) for name in calls))
        narrow = ABIS["i386"]
        for name in calls:
            number = narrow.numbers[name]
            plans[PLANS // 2 + number] = plan(captures_of(narrow, number), strings=strings, largest=largest(strings))
    offsets = offsets_of(btf)._replace(cast=cast_of(btf))
    settings = Settings(
        strings,
        follow,
        needs(plans.values()),
        stacks=stacks,
        failed_only=failed_only,
        prefix=prefix,
        loops=loops and knows_loops(offsets),
    )
    try:
        made = Recording(offsets, guard, settings, plans, ring_size=ring, by_call=tied)
    except PermissionError:
        pytest.skip("bpf(2) is refused here")
    try:
        if attached:
            made.attach()
        yield made
    finally:
        made.close()


def of_call(name: str) -> tuple[int, int]:
    """Return the tracepoints of a call; skips the test where they cannot be had."""
    found = tracepoints.find().of_call(name)
    if found is None:
        pytest.skip("tracefs cannot be had here: mount it at /sys/kernel/tracing")
    return found


def narrow_program(folder: Path) -> Path:
    """Return a 32-bit program that calls getppid until it is killed."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing: install it to run the tests with compiled programs")
    source = folder / "narrow.c"
    # It sleeps in between, by nanosleep: nobody could read the records of one that does not as fast as they come.
    source.write_text("""
static const long millisecond[2] = {0, 1000000};
void _start(void) {
    for (int r;;) {
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(64));
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(162), "b"(millisecond), "c"(0) : "memory");
    }
}
""")
    flags = ["-m32", "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-pie", "-no-pie"]
    if subprocess.run([compiler, *flags, "-o", folder / "narrow", source], check=False, timeout=60).returncode:
        pytest.skip("gcc makes no 32-bit programs here")
    return folder / "narrow"


def taken(made: Recording, ring: int = RING) -> tuple[list[Record], Counters]:
    """Return what has been recorded so far, and the counters."""
    reader = Ring(made.shared.ring, made.shared.counters, ring)
    found: list[Record] = []
    try:
        left = reader.waiting
        while left > 0 and (data := reader.take()):
            left -= len(data)
            found += [_record(data, head) for head in records.heads(data)]
        return found, reader.counters()
    finally:
        reader.close()


def recorded_bytes(made: Recording) -> bytes:
    """Return what has been recorded so far, as it stands in a ring of the usual size."""
    reader = Ring(made.shared.ring, made.shared.counters, RING)
    try:
        return b"".join(iter(reader.take, b""))
    finally:
        reader.close()


def run(made: Recording, function: Callable[[], object], started: tuple[int, int] = ANY_TIME) -> int:
    """Call ``function`` in a child that is recorded; return the child's pid when it has ended."""
    with gated(function) as (pid, go):
        made.add(pid, started)
        go()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid


def _record(data: bytes, head: records.Head) -> Record:
    part = _PARTS.get(head.what)
    numbers = records.part(part, data, head) if part is not None else ()
    after = head.body + (part.size if part is not None else 0)
    memory = []
    if head.what in {records.ENTRY, records.EXIT, records.EXEC}:
        memory = list(records.fragments(data, after, head.end))
    name = ABI.name_of(head.nr) if head.what in {records.ENTRY, records.EXIT} else ""
    return Record(head.what, name, head.pid, head.tid, numbers, memory, data[head.body : head.end], head.time_ns)
