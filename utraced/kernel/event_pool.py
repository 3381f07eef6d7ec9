"""Events of tracepoints, which programs are tied to: opened when needed, closed aside and a little later.

To untie a program waits for all CPUs (25 ms), and so does the last close of a tracepoint's events (36 ms), with a lock
that the next open waits for.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import zip_longest
from time import monotonic
from typing import NamedTuple

from .bpf_calls import open_event

KEPT = 1.0
"""Seconds that an event is kept for another trace.  As long all calls of the machine take the kernel's longer way."""


class Event(NamedTuple):
    """An open event of the tracepoint with this number."""

    tracepoint: int
    fd: int


class EventPool:
    """Events that are in use, or that wait to be closed; threads may share it."""

    def __init__(
        self, *, kept: float = KEPT, open_: Callable[[int], int] = open_event, close: Callable[[int], None] = os.close
    ) -> None:
        self._kept = kept
        self._open = open_
        self._close = close
        self._changed = threading.Condition()
        self._tied: deque[tuple[Event, int]] = deque()
        self._idle: deque[tuple[Event, float]] = deque()
        self._spent: deque[Event] = deque()
        self._closing = False

    def take(self, tracepoint: int) -> Event:
        """Return an event of a tracepoint that nothing is tied to; raises OSError."""
        with self._changed:
            for one in self._idle:
                if one[0].tracepoint == tracepoint:
                    self._idle.remove(one)
                    return one[0]
        return Event(tracepoint, self._open(tracepoint))

    def another(self, event: Event) -> Event:
        """Return a new event for one that something is tied to still, which nobody is to have again; raises OSError."""
        fresh = Event(event.tracepoint, self._open(event.tracepoint))
        with self._changed:
            self._spent.append(event)
            self._close_soon()
        return fresh

    def give(self, events: Iterable[Event], links: Iterable[int] = ()) -> None:
        """Let go of events, and first of the links that tie programs to them, one to each of the first ones."""
        now = monotonic()
        with self._changed:
            for event, link in zip_longest(events, links):
                if link is None:
                    self._idle.append((event, now))
                else:
                    self._tied.append((event, link))
            self._close_soon()

    def _close_soon(self) -> None:
        if not self._closing and (self._tied or self._idle or self._spent):
            self._closing = True
            threading.Thread(target=self._close_all, name="events", daemon=True).start()
        self._changed.notify()

    def _close_all(self) -> None:
        """Close what nobody has wanted again, until nothing is left."""
        while True:
            with self._changed:
                if not self._tied and not self._idle and not self._spent:
                    self._closing = False
                    return
                untie = self._tied.popleft() if self._tied else None
                if untie is None and self._spent:
                    event = self._spent.popleft()
                elif untie is None:
                    event, since = self._idle[0]
                    left = since + self._kept - monotonic()
                    if left > 0:
                        self._changed.wait(left)
                        continue
                    self._idle.popleft()
            if untie is None:
                self._close(event.fd)
                continue
            event, link = untie
            self._close(link)
            with self._changed:
                self._idle.append((event, monotonic()))
