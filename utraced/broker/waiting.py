"""Connections that wait to be looked at: each user's in turn, so that one who floods us keeps nobody else waiting.

Accepting takes microseconds, looking at a peer half a millisecond.  Left to the kernel, whose queue of a listening
socket is one for all, a flood would fill it, and others could not even connect (listen(2)).
"""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from utraced.linux.saying import log

MOST = 1000
"""Connections of one user that wait; more are closed without a word."""


class Accepted(NamedTuple):
    """A connection, and at which socket it came in."""

    sock: socket.socket
    name: str


class Waiting:
    """The connections by user, and those that are to be closed."""

    def __init__(self) -> None:
        self._of_user: dict[int, deque[Accepted]] = {}
        self._surplus: list[socket.socket] = []
        # Had in advance: when all descriptors are in use, closing some is what there is to do.
        self._pipe: tuple[int, int] | None = os.pipe()

    def __bool__(self) -> bool:
        """Tell whether somebody waits."""
        return bool(self._of_user)

    def add(self, uid: int, sock: socket.socket, name: str) -> None:
        """Have a connection wait, unless its user has too many."""
        queue = self._of_user.setdefault(uid, deque())
        if len(queue) < MOST:
            queue.append(Accepted(sock, name))
        else:
            self.drop(sock)

    def turn(self) -> list[Accepted]:
        """Take one connection of each user."""
        taken = [queue.popleft() for queue in self._of_user.values()]
        self._of_user = {uid: queue for uid, queue in self._of_user.items() if queue}
        return taken

    def drop(self, sock: socket.socket) -> None:
        """Have a connection closed."""
        self._surplus.append(sock)

    def leave(self) -> None:
        """Close what is to be closed, so that it does not matter what lies unread in it.

        The last close of a descriptor may take hours, a client's lingering socket for one.  Of an ending process the
        kernel closes it without lingering (inet_release in net/ipv4/af_inet.c), and if it does wait, it is not we.
        """
        if not self._surplus:
            return
        surplus, self._surplus = self._surplus, []
        try:
            reading, writing = self._pipe or os.pipe()
            self._pipe = reading, writing
            if os.fork() == 0:
                _outlive(reading, [sock.fileno() for sock in surplus])
        except OSError as error:
            self._surplus = surplus
            log.error("connections cannot be closed for now: %s", error.strerror)
            return
        for sock in surplus:
            sock.close()
        self._pipe = None
        os.close(reading)
        os.close(writing)
        with suppress(OSError):  # of the whole machine: then it is tried again when it is needed
            self._pipe = os.pipe()


def _outlive(reading: int, fds: list[int]) -> None:
    """Keep descriptors until our parent has closed its own, and end; keep nothing else of it."""
    try:
        first = 0
        for fd in sorted({reading, *fds}):
            os.closerange(first, fd)
            first = fd + 1
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
        os.read(reading, 1)
    finally:
        os._exit(0)
