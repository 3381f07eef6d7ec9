"""How many sessions there are, for those who wait for one more or less."""

from __future__ import annotations

from time import monotonic

import anyio


class Changes:
    """Counts sessions; ``sessions`` is how many there are now.

    Nothing is made or woken for a change that nobody waits for: most connections are short.
    """

    def __init__(self) -> None:
        self.sessions = 0
        self._empty_since = monotonic()
        self._next: anyio.Event | None = None
        self._emptied: anyio.Event | None = None

    def came(self) -> None:
        """Note one more."""
        self.sessions += 1
        self._stir()

    def went(self) -> None:
        """Note one less."""
        self.sessions -= 1
        if not self.sessions:
            self._empty_since = monotonic()
            if self._emptied is not None:
                self._emptied.set()
                self._emptied = None
        self._stir()

    def idle_seconds(self) -> float | None:
        """Return for how long there have been none, None where there are some."""
        return None if self.sessions else monotonic() - self._empty_since

    async def next(self) -> None:
        """Wait for a change."""
        self._next = self._next or anyio.Event()
        await self._next.wait()

    async def emptied(self) -> None:
        """Wait until the last has gone."""
        self._emptied = self._emptied or anyio.Event()
        await self._emptied.wait()

    def _stir(self) -> None:
        if self._next is not None:
            self._next.set()
            self._next = None
