"""Work that may block, in a thread and with a deadline.

Reading another process's memory through /proc (command line, mappings) waits while that process changes its mappings,
or for a file system in user space that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import anyio
import anyio.to_thread

from utraced.errors import TimedOut

DEADLINE = 5.0
"""Seconds."""

AT_ONCE = 4
"""Threads that one session may keep busy."""

share: ContextVar[anyio.CapacityLimiter | None] = ContextVar("share", default=None)
"""The threads of the session whose request is carried out."""

Returned = TypeVar("Returned")


async def aside(work: Callable[[], Returned]) -> Returned:
    """Return what ``work`` returns, called in a thread; raises TimedOut when that takes longer than the deadline.

    After a timeout or a cancellation the thread goes on alone and its result is dropped: it must not be a descriptor.
    """
    try:
        with anyio.fail_after(DEADLINE):
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=share.get())
    except TimeoutError as error:
        raise TimedOut(
            f"the kernel did not answer within {DEADLINE:.0f} s",
            hint="The process is changing its mappings, or waits for a file system that does not answer: try later.",
        ) from error
