"""Connections that the broker hands on, over the worker's one channel to it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.abc

from utraced.errors import from_wire
from utraced.linux import closing, handing
from utraced.linux.handing import Attacher, Connection, End, Idle, Receiver, Refusal, Taken

from .attachers import BrokersAttacher
from .changes import Changes
from .listen import Acceptor

log = logging.getLogger("utraced")

MOST_CLOSING = 256
"""Descriptors of refused peers that wait to be closed, at which the refusing worker ends: that closes them at once."""


class Handed:
    """Serves what comes over ``channel`` until the broker says that nothing more will, or is gone.

    ``changes`` tells of sessions that come and go, ``unbound`` waits until no process is left that ends with us.
    """

    def __init__(  # noqa: PLR0913 - what a worker does for it
        self,
        channel: socket.socket,
        acceptor: Acceptor,
        attachers: BrokersAttacher,
        changes: Changes,
        *,
        idle_seconds: float,
        unbound: Callable[[], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._acceptor = acceptor
        self._attachers = attachers
        self._changes = changes
        self._idle_seconds = idle_seconds
        self._unbound = unbound
        self._receiver = Receiver(Connection, Refusal, Attacher, End)
        self._taken = 0
        self._now = False
        self._over = anyio.Event()

    async def run(self, tasks: anyio.abc.TaskGroup) -> bool:
        """Serve; return whether to let go of everything, else nobody is left."""
        self._channel.setblocking(False)
        self._acceptor.add(self._channel, self._react)
        tasks.start_soon(self._watch_idle)
        await self._over.wait()
        if self._now:
            return True
        self._attachers.ended()
        while self._changes.sessions:
            await self._changes.next()
        await self._unbound()
        return False

    def _react(self) -> None:
        """Take the next message."""
        try:
            handed = self._receiver.take(self._channel)
        except BlockingIOError:
            return
        if handed is None:
            # The broker is gone, and the next has another worker: this one is there for whom it has.
            log.warning("the broker has ended: its worker %d stays for %s", os.getpid(), "those it has")
            self._end()
        elif isinstance(handed.message, End):
            self._end(now=handed.message.now)
        elif isinstance(handed.message, Attacher):
            self._attachers.take(handed.message, handed.fds)
        else:
            self._take(handed)

    def _end(self, *, now: bool = False) -> None:
        self._now = now
        self._acceptor.remove(self._channel)
        self._over.set()

    def _take(self, handed: handing.Handed) -> None:
        self._taken += 1
        # Before anything is read of it: should this process be killed then, the broker gives it to the next.  What the
        # broker does not take now, it takes with the next.
        with suppress(OSError):
            handing.send(self._channel, Taken(self._taken))
        if not handed.fds:
            # The kernel drops a descriptor that this process may not have (MSG_CTRUNC in recvmsg(2)).
            log.error("a connection is lost: there are too many descriptors")
            return
        sock = socket.socket(fileno=handed.fds[0])
        match handed.message:
            case Connection(name=name, access=access):
                self._acceptor.take(sock, name, access=access)
            case Refusal(code=code, message=message, data=data):
                self._acceptor.refuse(sock, from_wire(code, message, data))
                if closing.behind() > MOST_CLOSING:
                    # Of an ending process the kernel closes without lingering (inet_release in net/ipv4/af_inet.c).
                    os._exit(1)

    async def _watch_idle(self) -> None:
        """Offer the broker to end when nobody has been here for a while; it answers unless somebody is on the way."""
        while True:
            await self._unbound()
            idle = self._changes.idle_seconds()
            if idle is None:
                await self._changes.emptied()
            elif idle < self._idle_seconds:
                await anyio.sleep(self._idle_seconds - idle)
            else:
                handing.send(self._channel, Idle(self._taken))
                await self._changes.next()
