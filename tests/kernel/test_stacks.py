"""Stacks of threads that are stopped: those that the kernel finds by itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.children import ended
from tests.kernel.by_hand import by_hand
from tests.kernel.test_bpf_stacks import programs
from tests.live.conftest import Programs
from utraced.api import events, trace
from utraced.kernel.stacks import capture
from utraced.observing.capture import Entry, plan
from utraced.observing.stack import MOST_FRAMES
from utraced.observing.stop import SyscallStop
from utraced.syscalls.abi import ABIS, AUDIT_ARCH_X86_64
from utraced.syscalls.memory import NOTHING
from utraced.tracing.actions import CaptureStack

__all__ = ["programs"]


def told_and_stopped(program: Path, *words: str) -> tuple[list[str], tuple[str, ...]]:
    """Return the addresses that stacking.c tells, and the stack that a trace tells of it."""
    process = subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with by_hand() as hand:
            hand.call(trace.Start(pid=process.pid, backend="ptrace", stacks=True, syscalls=("getppid",)))
            process.stdin.close()
            hand.ended(process.pid)
            (call,) = hand.told(events.Syscall)
        assert call.stack is not None
        return process.stdout.read().split(), call.stack
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("depth", [0, 300])
def test_a_stack_is_that_of_the_program(programs: Programs, depth: int) -> None:
    places, stack = told_and_stopped(programs("stacking"), str(depth))
    assert list(stack[: len(places)]) == places
    assert len(stack) == MOST_FRAMES if depth else len(places) < len(stack) < MOST_FRAMES


def test_an_ended_thread_has_none() -> None:
    entry = Entry(SyscallStop(1, 0, 0x401000, True, AUDIT_ARCH_X86_64, 0), plan(ABIS["x86_64"], 110))
    capture(CaptureStack(ended(), NOTHING, entry))
    assert entry.stack is None
