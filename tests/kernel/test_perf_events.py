"""Events of tracepoints of a real process."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import pytest

from tests.children import gated, needs_root
from utraced.kernel import perf_events as perf
from utraced.kernel import perf_samples as samples
from utraced.kernel import tracepoints
from utraced.kernel.perf_filters import of_numbers
from utraced.kernel.perf_samples import Item, Tracepoints, items

pytestmark = needs_root
GETPPID = 110


@cache
def points() -> Tracepoints:
    """Return the tracepoints; skips where there is no tracefs."""
    found = tracepoints.find()
    names = ("raw_syscalls/sys_enter", "raw_syscalls/sys_exit", "signal/signal_deliver", "sched/sched_process_exec")
    numbers = [found.number(name) for name in names]
    if None in numbers:
        pytest.skip("this kernel has no tracepoints for us")
    return Tracepoints(*[number for number in numbers if number is not None])


def sampled(size: int, calls: int, watch: Callable[[int], None] = lambda fd: None) -> tuple[list[Item], int]:
    """Return what is sampled of a process that calls getppid so often, and how much is lost."""
    found = points()
    fds, rings = [], []

    def act() -> None:
        for _ in range(calls):
            os.getppid()

    with gated(act) as (pid, go):
        for cpu in sorted(os.sched_getaffinity(0)):
            fd = perf.open_event(
                found.enter, pid, cpu, flags=perf.SAMPLE_ID_ALL, sample=samples.SAMPLED | perf.SAMPLE_REGS_USER,
                registers=samples.REGISTERS,
            )  # fmt: skip
            perf.set_filter(fd, of_numbers([GETPPID]) or "")
            watch(fd)
            fds.append(fd)
            rings.append(perf.PerfRing(fd, size))
        go()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    told = [item for ring in rings for item in items(ring.take(), found) if item[3] == samples.ENTER]
    lost = sum(map(perf.lost, fds))
    for ring in rings:
        assert ring.take() == b""
        ring.close()
    for fd in fds:
        os.close(fd)
    return told, lost


def test_only_calls_that_the_filter_says_are_sampled_with_their_registers() -> None:
    told, lost = sampled(1 << 16, 3)
    assert [item[4] for item in told] == [GETPPID] * 3
    assert lost == 0
    # first, second and fourth argument in di, si, r10, of a program of 64 bits
    *_, wide, si, di, sp, pc, r10 = told[0]
    assert (wide, di, si, r10) == (2, told[0][5], told[0][6], told[0][8])
    assert 0 < pc < 1 << 47
    assert 0 < sp < 1 << 47
    assert [item[2] for item in told] == sorted(item[2] for item in told)


def test_what_finds_no_room_is_counted() -> None:
    told, lost = sampled(1 << 12, 500)
    assert 0 < len(told) < 500
    assert len(told) + lost == 500


def test_what_is_disabled_samples_nothing() -> None:
    told, lost = sampled(1 << 16, 3, perf.disable)
    assert (told, lost) == ([], 0)


def test_a_process_that_is_gone_has_no_events() -> None:
    with pytest.raises(ProcessLookupError):
        perf.open_event(points().enter, 4_194_304, 0, flags=0, sample=samples.SAMPLED)


def test_a_filter_may_be_as_long_as_a_page() -> None:
    found = points()
    fd = perf.open_event(found.enter, os.getpid(), -1, flags=0, sample=samples.SAMPLED)
    try:
        text = of_numbers(range(0, 600, 2)) or ""
        assert len(text) > 3000
        perf.set_filter(fd, text)
        with pytest.raises(FileExistsError):  # it has come whole
            perf.set_filter(fd, text)
    finally:
        os.close(fd)
