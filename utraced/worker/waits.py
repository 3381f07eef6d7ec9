"""Requests that wait for threads, in the event loop."""

from __future__ import annotations

import anyio

from utraced.tracing.waiting import Waiter


class EventWaits:
    """Wakes the request of each waiter that the tracer says is over."""

    def __init__(self) -> None:
        self._events: dict[Waiter, anyio.Event] = {}

    def completed(self, waiter: Waiter) -> None:
        """Wake who waits for ``waiter``."""
        event = self._events.get(waiter)
        if event is not None:
            event.set()

    async def over(self, waiter: Waiter, patience: float) -> bool:
        """Wait until ``waiter`` is over, or for ``patience`` seconds; tell whether it is over."""
        if not waiter.outstanding:
            return True
        event = self._events.setdefault(waiter, anyio.Event())
        try:
            with anyio.move_on_after(patience):
                await event.wait()
        finally:
            self._events.pop(waiter, None)
        return not waiter.outstanding
