"""Connections that have come and are not served yet: each client's in turn.  No I/O.

A client that connects without end, and sends a lot at once on each connection, would have a newcomer wait behind all of
that in the kernel's queue of a listening socket, which is one for all.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from utraced.model import Peer, SessionAccess


class Arrived(NamedTuple):
    """A connection of ``who`` that came in at socket ``name``; ``check`` raises where it is not served."""

    sock: socket.socket
    who: Peer
    name: str
    access: SessionAccess
    check: Callable[[Peer], None] | None


class Arrivals:
    """Those that wait, by the process that has connected."""

    def __init__(self) -> None:
        self._by_pid: dict[int, deque[Arrived]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def add(self, arrived: Arrived) -> None:
        """Have a connection wait behind others of its client's."""
        self._by_pid.setdefault(arrived.who.pid, deque()).append(arrived)
        self._count += 1

    def put_back(self, arrived: Arrived) -> None:
        """Have a connection wait before others of its client's."""
        self._by_pid.setdefault(arrived.who.pid, deque()).appendleft(arrived)
        self._count += 1

    def turn(self) -> list[Arrived]:
        """Take one connection of each client."""
        taken = [queue.popleft() for queue in self._by_pid.values()]
        self._by_pid = {pid: queue for pid, queue in self._by_pid.items() if queue}
        self._count -= len(taken)
        return taken
