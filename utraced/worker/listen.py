"""Accepts connections: those of our own user become sessions, others are told why not."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
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
"""Nanoseconds that a connection takes at least, from its first task to its last; 500 a second must be possible."""
REFUSED_AT_ONCE = 100
"""Connections of others that wait for their answer; more are closed without."""
RETRY = 0.1
"""Seconds until a connection is accepted that lacked a descriptor or memory."""
SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

Serve = Callable[[socket.socket, Session, int], Coroutine[Any, Any, None]]
"""Serves a session over its socket until its end; the pidfd of its peer is the third argument."""


class Acceptor:
    """Accepts at one listening socket after another's manner: all share the sessions.

    Whoever connects without end is held back as one client by ``turns``.
    """

    def __init__(self, sessions: Sessions, registry: Registry, serve: Serve, turns: Turns) -> None:
        self._sessions = sessions
        self._registry = registry
        self._serve = serve
        self._turns = turns
        self._refused = 0
        self._short = False

    async def run(self, listener: Listening, tasks: anyio.abc.TaskGroup) -> None:
        """Accept for ever."""
        listener.socket.setblocking(False)
        while True:
            await anyio.wait_readable(listener.socket)
            try:
                sock, _address = listener.socket.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in SHORT_OF:
                    await self._lack(error)
                continue  # else the peer is gone again (accept(2))
            await self.take(sock, listener.name, tasks, check=_check)

    async def take(
        self,
        sock: socket.socket,
        name: str,
        tasks: anyio.abc.TaskGroup,
        *,
        access: SessionAccess = "full",
        check: Callable[[Peer], None] = lambda _: None,
    ) -> None:
        """Make a connection that came in at socket ``name`` a session, unless ``check`` raises."""
        self._turns.spend(self._turns.connecting, CONNECTION_NS)
        await anyio.sleep(self._turns.resting(self._turns.connecting) / 1e9)
        while True:
            try:
                who = peer(sock)
                pidfd = peer_pidfd(sock)
                break
            except OSError as error:
                if error.errno not in SHORT_OF:
                    leave(sock)  # the peer has ended
                    return
                await self._lack(error)
        self._short = False
        try:
            check(who)
            self._turns.check(who.pid)
            session = self._sessions.add(who, access=access, socket=name)
        except UtracedError as error:
            os.close(pidfd)
            self.refuse(sock, error, tasks)
            return
        tasks.start_soon(self._serve, sock, session, pidfd)

    def refuse(self, sock: socket.socket, error: UtracedError, tasks: anyio.abc.TaskGroup) -> None:
        """Answer a connection's first request with ``error``, and close it."""
        self._sessions.trail(peer(sock)).failed(error, method="connect")
        if self._refused >= REFUSED_AT_ONCE:
            leave(sock)
            return
        self._refused += 1
        tasks.start_soon(self._answer, sock, error)

    async def _answer(self, sock: socket.socket, error: UtracedError) -> None:
        try:
            await refuse(sock, self._registry, error)
        finally:
            self._refused -= 1

    async def _lack(self, error: OSError) -> None:
        """Wait for descriptors or memory; log it once, until there were some again."""
        if not self._short:
            self._short = True
            log.error("cannot take more connections for now: %s", error.strerror)
        await anyio.sleep(RETRY)


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
