"""When to give free memory back: what lies between what is still used adds up.

Thousands of connections leave such, and so do records that waited for a client.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from utraced.linux.trimming import release

ENDED = 1_000
"""Connections whose end leaves enough to look for."""
MUCH = 16 << 20
"""Bytes of records that waited at a time."""
APART_NS = 1_000_000_000
"""Nanoseconds from one time to the next."""


class Slack:
    """Counts what has been let go of; ``clock`` tells nanoseconds, ``give`` gives memory back."""

    def __init__(self, *, clock: Callable[[], int] = monotonic_ns, give: Callable[[], bool] = release) -> None:
        self._clock = clock
        self._give = give
        self._ended = self._let_go = 0
        self._given_ns = clock()

    def ended(self) -> None:
        """Note that a connection has ended."""
        self._ended += 1
        self._consider()

    def let_go(self, size: int) -> None:
        """Note that so many bytes are not needed any more, which were at one time."""
        self._let_go = max(self._let_go, size)
        self._consider()

    def _consider(self) -> None:
        if self._ended < ENDED and self._let_go < MUCH:
            return
        if (now := self._clock()) - self._given_ns < APART_NS:
            return
        self._give()
        self._ended = self._let_go = 0
        self._given_ns = now
