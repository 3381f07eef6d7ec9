"""When to give free memory back: what thousands of connections leave lies between what is still used, and adds up."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from utraced.linux.trimming import release

ENDED = 1_000
"""Connections whose end leaves enough to look for."""
APART_NS = 10_000_000_000
"""Nanoseconds from one time to the next."""


class Slack:
    """Counts the connections that have ended; ``clock`` tells nanoseconds, ``give`` gives memory back."""

    def __init__(self, *, clock: Callable[[], int] = monotonic_ns, give: Callable[[], bool] = release) -> None:
        self._clock = clock
        self._give = give
        self._ended = 0
        self._given_ns = clock()

    def ended(self) -> None:
        """Note that a connection has ended."""
        self._ended += 1
        if self._ended < ENDED or (now := self._clock()) - self._given_ns < APART_NS:
            return
        self._give()
        self._ended = 0
        self._given_ns = now
