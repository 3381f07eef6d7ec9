"""Work that may block, in a thread and with a deadline.

Reading another process's memory through /proc (command line, mappings) waits while that process changes its mappings,
or for a file system in user space that does not answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from time import thread_time_ns
from typing import Generic, TypeVar, cast

import anyio
import anyio.to_thread

from utraced.errors import TimedOut

DEADLINE = 5.0
"""Seconds."""

AT_ONCE = 4
"""Threads that one client may keep busy, with all its connections: the loop waits for each of them in turn."""

Returned = TypeVar("Returned")


class Share:
    """The threads that one client may keep busy.

    ``spend`` is told the nanoseconds of the CPU that a thread took, which the loop had to do without; ``resting`` tells
    for how many the client has to wait because of that.
    """

    def __init__(self, spend: Callable[[int], None], resting: Callable[[], int]) -> None:
        self.spend = spend
        self.resting = resting
        self.places = anyio.CapacityLimiter(AT_ONCE)
        """For work that runs, or is the next to."""
        self.threads = anyio.CapacityLimiter(AT_ONCE)
        """For work that runs, also where nobody waits for it any more."""


share: ContextVar[Share | None] = ContextVar("share", default=None)
"""Of the client whose request is carried out."""


class _Run(Generic[Returned]):
    """One piece of work, which keeps a thread's place until it is done, or is given up before it has begun.

    ``spent`` are the nanoseconds of the CPU that it took, as far as it is done.
    """

    def __init__(self, work: Callable[[], Returned], threads: anyio.CapacityLimiter) -> None:
        self._work = work
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._taken = threading.Lock()
        self.spent = 0

    def __call__(self) -> Returned | None:
        """Do the work, in a thread; nothing where it has been given up."""
        if not self._taken.acquire(blocking=False):
            return None
        started = thread_time_ns()
        try:
            return self._work()
        finally:
            self.spent = thread_time_ns() - started
            # The loop may have ended while this thread was stuck.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._threads.release_on_behalf_of, self)

    def give_up(self) -> None:
        """Take note that nobody waits for it any more: one that has not begun never will."""
        if self._taken.acquire(blocking=False):
            self._threads.release_on_behalf_of(self)


async def aside(work: Callable[[], Returned]) -> Returned:
    """Return what ``work`` returns, called in a thread; raises TimedOut when that takes longer than the deadline.

    It waits until the client has a thread for it, and where it rests, until that is over.  After a timeout or a
    cancellation the thread goes on alone and its result is dropped: it must not be a descriptor.
    """
    mine = share.get() or Share(spend=lambda _: None, resting=lambda: 0)
    run = _Run(work, mine.threads)
    try:
        async with mine.places:
            if rest := mine.resting():
                await anyio.sleep(rest / 1e9)
            with anyio.fail_after(DEADLINE):
                await mine.threads.acquire_on_behalf_of(run)
                try:
                    # Each has its place here already.
                    limiter = anyio.CapacityLimiter(1)
                    return cast(Returned, await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=limiter))
                except BaseException:
                    run.give_up()
                    raise
    except TimeoutError as error:
        raise TimedOut(
            f"the kernel did not answer within {DEADLINE:.0f} s",
            hint="The process is changing its mappings, or waits for a file system that does not answer: try later.",
        ) from error
    finally:
        mine.spend(run.spent)
