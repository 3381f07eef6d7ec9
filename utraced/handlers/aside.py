"""Work that may block, in a thread and with a deadline.

Reading another process's memory through /proc (command line, mappings) waits while that process changes its mappings,
or for a file system in user space that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from time import thread_time_ns
from typing import TypeVar

import anyio
import anyio.to_thread

from utraced.errors import TimedOut

DEADLINE = 5.0
"""Seconds."""

AT_ONCE = 4
"""Threads that one session may keep busy."""

Returned = TypeVar("Returned")


class Share:
    """The threads that one session may keep busy.

    ``spend`` is told the nanoseconds of the CPU that a thread took, which the loop had to do without; ``resting`` tells
    for how many the session has to wait because of that.
    """

    def __init__(self, spend: Callable[[int], None], resting: Callable[[], int]) -> None:
        self.spend = spend
        self.resting = resting

    # Made when first used: most connections never do.

    @cached_property
    def places(self) -> anyio.CapacityLimiter:
        """For work that runs, or is the next to."""
        return anyio.CapacityLimiter(AT_ONCE)

    @cached_property
    def threads(self) -> anyio.CapacityLimiter:
        """For work that runs."""
        return anyio.CapacityLimiter(AT_ONCE)


share: ContextVar[Share | None] = ContextVar("share", default=None)
"""Of the session whose request is carried out."""


async def aside(work: Callable[[], Returned]) -> Returned:
    """Return what ``work`` returns, called in a thread; raises TimedOut when that takes longer than the deadline.

    It waits until the session has a thread for it, and where the session rests, until that is over.  After a timeout or
    a cancellation the thread goes on alone and its result is dropped: it must not be a descriptor.
    """
    mine, spent = share.get() or Share(spend=lambda _: None, resting=lambda: 0), 0

    def measured() -> Returned:
        nonlocal spent
        started = thread_time_ns()
        try:
            return work()
        finally:
            spent = thread_time_ns() - started

    try:
        async with mine.places:
            if rest := mine.resting():
                await anyio.sleep(rest / 1e9)
            with anyio.fail_after(DEADLINE):
                return await anyio.to_thread.run_sync(measured, abandon_on_cancel=True, limiter=mine.threads)
    except TimeoutError as error:
        raise TimedOut(
            f"the kernel did not answer within {DEADLINE:.0f} s",
            hint="The process is changing its mappings, or waits for a file system that does not answer: try later.",
        ) from error
    finally:
        mine.spend(spent)
