"""Accepts connections: those of our own user become sessions, others are told why not."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import anyio.abc

from utraced.errors import PermissionDenied, UtracedError
from utraced.handlers.session import Session
from utraced.handlers.sessions import Sessions
from utraced.linux.credentials import peer, peer_pidfd
from utraced.linux.listening import Listening
from utraced.model import Peer, SessionAccess
from utraced.rpc.method import Registry

from .refusing import leave, refuse
from .turns import Turns

log = logging.getLogger("utraced")

CONNECTION_NS = 250_000
"""Nanoseconds that a connection takes at least, from its first packet to its last; 500 a second must be possible."""
REFUSED_AT_ONCE = 100
"""Connections of others that wait for their answer; more are closed without."""
RETRY = 0.1
"""Seconds until a connection is accepted that lacked a descriptor or memory."""
SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

Serve = Callable[[socket.socket, Session, int], None]
"""Serves a session over its socket until its end; the pidfd of its peer is the third argument."""


class Arrived(NamedTuple):
    """A connection that came in at socket ``name``; ``check`` raises where it is not served."""

    sock: socket.socket
    name: str
    access: SessionAccess
    check: Callable[[Peer], None] | None


class Acceptor:
    """Makes connections sessions, of whatever brings them: all share the sessions.

    Whoever connects without end is held back as one client by ``turns``: for that long nothing is listened to that
    brings connections.  ``tasks`` are those that answer who is refused.
    """

    def __init__(
        self, sessions: Sessions, registry: Registry, serve: Serve, turns: Turns, tasks: anyio.abc.TaskGroup
    ) -> None:
        self._sessions = sessions
        self._registry = registry
        self._serve = serve
        self._turns = turns
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._sources: dict[int, Callable[[], None]] = {}
        self._paused: asyncio.Handle | None = None
        self._unserved: deque[Arrived] = deque()
        self._refused = 0
        self._short = False

    def listen(self, listener: Listening) -> None:
        """Accept at a listening socket from now on."""
        listener.socket.setblocking(False)
        self.add(listener.socket, partial(self._accept, listener))

    def add(self, source: socket.socket, react: Callable[[], None]) -> None:
        """Have ``react`` called when something has come that may be a connection."""
        self._sources[source.fileno()] = react
        if self._paused is None:
            self._loop.add_reader(source.fileno(), react)

    def remove(self, source: socket.socket) -> None:
        """Listen to a source no more."""
        if self._sources.pop(source.fileno(), None) is not None:
            self._loop.remove_reader(source.fileno())

    def close(self) -> None:
        """Take no more connections; those that could not be served yet are closed."""
        if self._paused is not None:
            self._paused.cancel()
        for fd in self._sources:
            self._loop.remove_reader(fd)
        self._sources.clear()
        while self._unserved:
            leave(self._unserved.popleft().sock)

    def _accept(self, listener: Listening) -> None:
        try:
            sock, _address = listener.socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in SHORT_OF:
                self._lack(error)
            return  # else the peer is gone again (accept(2))
        self.take(sock, listener.name, check=_check)

    def take(
        self,
        sock: socket.socket,
        name: str,
        *,
        access: SessionAccess = "full",
        check: Callable[[Peer], None] | None = None,
    ) -> None:
        """Make a connection that came in at socket ``name`` a session, unless ``check`` raises."""
        self._unserved.append(Arrived(sock, name, access, check))
        self._go_on()

    def _go_on(self) -> None:
        """Serve what has arrived, as far as that goes now."""
        while self._unserved and self._paused is None:
            arrived = self._unserved.popleft()
            try:
                self._make(arrived)
            except Exception:
                # A bug of ours ends this connection, and no other.
                log.exception("a connection ended by an internal error")
                leave(arrived.sock)

    def _make(self, arrived: Arrived) -> None:
        sock = arrived.sock
        try:
            who = peer(sock)
            pidfd = peer_pidfd(sock)
        except OSError as error:
            if error.errno in SHORT_OF:
                self._unserved.appendleft(arrived)
                self._lack(error)
            else:
                leave(sock)  # the peer has ended
            return
        self._short = False
        try:
            if arrived.check is not None:
                arrived.check(who)
            self._turns.check(who.pid)
            session = self._sessions.add(who, access=arrived.access, socket=arrived.name)
        except UtracedError as error:
            os.close(pidfd)
            self.refuse(sock, error)
        else:
            self._serve(sock, session, pidfd)
        self._turns.spend(self._turns.connecting, CONNECTION_NS)
        if rest := self._turns.resting_for(who.pid):
            self._pause(rest / 1e9)

    def refuse(self, sock: socket.socket, error: UtracedError) -> None:
        """Answer a connection's first request with ``error``, and close it."""
        self._sessions.trail(peer(sock)).failed(error, method="connect")
        if self._refused >= REFUSED_AT_ONCE:
            leave(sock)
            return
        self._refused += 1
        self._tasks.start_soon(self._answer, sock, error)

    async def _answer(self, sock: socket.socket, error: UtracedError) -> None:
        try:
            await refuse(sock, self._registry, error)
        finally:
            self._refused -= 1

    def _lack(self, error: OSError) -> None:
        """Wait for descriptors or memory; log it once, until there were some again."""
        if not self._short:
            self._short = True
            log.error("cannot take more connections for now: %s", error.strerror)
        self._pause(RETRY)

    def _pause(self, seconds: float) -> None:
        for fd in self._sources:
            self._loop.remove_reader(fd)
        self._paused = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._paused = None
        self._go_on()
        if self._paused is None:
            for fd, react in self._sources.items():
                self._loop.add_reader(fd, react)


def _check(who: Peer) -> None:
    """Raise PermissionDenied for a peer that is not of this process's user and group."""
    uid, gid = os.geteuid(), os.getegid()
    if (who.uid, who.gid) == (uid, gid) and who.pid:
        return
    raise PermissionDenied(
        f"this daemon serves uid {uid} with gid {gid}, and you are uid {who.uid} with gid {who.gid}"
        if who.pid
        else "this daemon serves its own pid namespace, and you are in another",
        reason="policy",
        hint="Start a daemon of your own, or unset UTRACED_SOCKET: utracectl then needs none.",
    )
