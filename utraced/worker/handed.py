"""Connections that the broker hands on, over the worker's one channel to it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable

import anyio
import anyio.abc

from utraced.errors import from_wire
from utraced.linux import closing, handing
from utraced.linux.handing import Attacher, Connection, End, Idle, Receiver, Refusal

from .attachers import BrokersAttacher
from .listen import Acceptor

log = logging.getLogger("utraced")

MOST_CLOSING = 256
"""Descriptors of refused peers that wait to be closed, at which the refusing worker ends: that closes them at once."""


class Handed:
    """Serves what comes over ``channel`` until the broker says that nothing more will, or is gone.

    ``busy`` tells whether there are sessions; ``changed`` waits until there are more or fewer.
    """

    def __init__(  # noqa: PLR0913 - what serving depends on
        self,
        channel: socket.socket,
        acceptor: Acceptor,
        attachers: BrokersAttacher,
        *,
        busy: Callable[[], bool],
        changed: Callable[[], anyio.Event],
        idle_seconds: float,
    ) -> None:
        self._channel = channel
        self._acceptor = acceptor
        self._attachers = attachers
        self._busy = busy
        self._changed = changed
        self._idle_seconds = idle_seconds
        self._receiver = Receiver(Connection, Refusal, Attacher, End)
        self._taken = 0

    async def run(self, tasks: anyio.abc.TaskGroup) -> bool:
        """Serve; return whether to let go of everything, else nobody is left."""
        self._channel.setblocking(False)
        tasks.start_soon(self._watch_idle)
        while True:
            await anyio.wait_readable(self._channel)
            try:
                handed = self._receiver.take(self._channel)
            except BlockingIOError:
                continue
            if handed is None:
                # The broker is gone, and the next has another worker: this one is there for whom it has.
                log.warning("the broker has ended: its worker %d stays for %s", os.getpid(), "those it has")
                break
            if isinstance(handed.message, End):
                if handed.message.now:
                    return True
                break
            if isinstance(handed.message, Attacher):
                self._attachers.take(handed.message, handed.fds)
                continue
            await self._take(handed, tasks)
        self._attachers.ended()
        while self._busy():
            await self._changed().wait()
        return False

    async def _take(self, handed: handing.Handed, tasks: anyio.abc.TaskGroup) -> None:
        self._taken += 1
        if not handed.fds:
            # The kernel drops a descriptor that this process may not have (MSG_CTRUNC in recvmsg(2)).
            log.error("a connection is lost: there are too many descriptors")
            return
        sock = socket.socket(fileno=handed.fds[0])
        match handed.message:
            case Connection(name=name, access=access):
                await self._acceptor.take(sock, name, tasks, access=access)
            case Refusal(code=code, message=message, data=data):
                self._acceptor.refuse(sock, from_wire(code, message, data), tasks)
                if closing.behind() > MOST_CLOSING:
                    # Of an ending process the kernel closes without lingering (inet_release in net/ipv4/af_inet.c).
                    os._exit(1)

    async def _watch_idle(self) -> None:
        """Offer the broker to end when nobody has been here for a while; it answers unless somebody is on the way."""
        while True:
            changed = self._changed()
            if self._busy():
                await changed.wait()
                continue
            with anyio.move_on_after(self._idle_seconds):
                await changed.wait()
                continue
            handing.send(self._channel, Idle(self._taken))
            await changed.wait()
