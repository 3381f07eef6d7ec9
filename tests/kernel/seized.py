"""One thread seized without any core: each call to the kernel is the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.kernel.targets import WALL, Side, Target, target
from utraced.kernel import ptrace

INTERRUPTED = 5 << 8 | 0x7F | ptrace.EVENT_STOP << 16


def wait(pid: int) -> int:
    """Return the next status of a thread."""
    return os.waitpid(pid, WALL)[1]


@contextmanager
def seized(act: Callable[[Side], object] = lambda _: None, *, exits: bool = False) -> Iterator[Target]:
    """Give a target that is seized, interrupted and stopped in its wait; with ``exits`` it will stop as it exits."""
    with target(act) as found:
        ptrace.seize(found.pid, exits=exits)
        ptrace.call(ptrace.PTRACE_INTERRUPT, found.pid)
        assert wait(found.pid) == INTERRUPTED
        yield found


def go_on(found: Target, request: int = ptrace.PTRACE_CONT, signal: int = 0) -> int:
    """Restart a stopped target and return its next status."""
    assert ptrace.restart(request, found.pid, signal)
    return wait(found.pid)
