"""Accepts connections: those of our own user become sessions, others are told why not."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import select
import socket
from collections.abc import Callable
from functools import partial

import anyio.abc

from utraced.errors import PermissionDenied, UtracedError
from utraced.handlers.session import Session
from utraced.handlers.sessions import Sessions
from utraced.linux.credentials import peer, peer_pidfd
from utraced.linux.listening import Listening
from utraced.model import Peer, SessionAccess
from utraced.rpc.method import Registry

from .arrivals import Arrivals, Arrived
from .refusing import leave, refuse
from .turns import Turns

log = logging.getLogger("utraced")

CONNECTION_NS = 250_000
"""Nanoseconds that a connection takes at least, from its first packet to its last; 500 a second must be possible."""
REFUSED_AT_ONCE = 100
"""Connections of others that wait for their answer; more are closed without."""
RETRY = 0.1
"""Seconds until a connection is accepted that lacked a descriptor or memory."""
ACCEPTED = 64
"""Connections accepted at a time: a microsecond or two each."""
MOST_ARRIVED = 2048
"""Connections that wait to be served, and at most a quarter of the descriptors; further ones wait in the kernel."""
SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

Serve = Callable[[socket.socket, Session, int], None]
"""Serves a session over its socket until its end; the pidfd of its peer is the third argument."""


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
        self._going: asyncio.Handle | None = None
        self._arrivals = Arrivals()
        self._most = min(MOST_ARRIVED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
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
        for handle in (self._paused, self._going):
            if handle is not None:
                handle.cancel()
        for fd in self._sources:
            self._loop.remove_reader(fd)
        self._sources.clear()
        while self._arrivals:
            for arrived in self._arrivals.turn():
                leave(arrived.sock)

    def _accept(self, listener: Listening) -> None:
        for _ in range(min(ACCEPTED, self._most - len(self._arrivals))):
            try:
                sock, _address = listener.socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in SHORT_OF:
                    self._lack(error)
                    return
                continue  # the peer is gone again (accept(2))
            if _has_left(sock):
                # Who connects and leaves without end would keep the kernel's queue full, and so everybody else out.
                leave(sock)
            else:
                self._arrive(sock, listener.name, "full", _check)
        self._go_on()

    def take(self, sock: socket.socket, name: str, *, access: SessionAccess = "full") -> None:
        """Make a connection that came in at socket ``name`` a session."""
        self._arrive(sock, name, access, None)
        self._go_on()

    def _arrive(
        self, sock: socket.socket, name: str, access: SessionAccess, check: Callable[[Peer], None] | None
    ) -> None:
        try:
            who = peer(sock)
        except OSError:
            leave(sock)  # nobody can be told apart whom the kernel does not name
        else:
            self._arrivals.add(Arrived(sock, who, name, access, check))

    def _go_on(self) -> None:
        """Serve one connection of each client; what is left has its turn when the loop has seen to everything else."""
        if self._going is not None:
            self._going.cancel()
            self._going = None
        if self._paused is not None:
            return
        for arrived in self._arrivals.turn():
            if self._paused is not None:
                self._arrivals.put_back(arrived)
                continue
            try:
                self._make(arrived)
            except Exception:
                # A bug of ours ends this connection, and no other.
                log.exception("a connection ended by an internal error")
                leave(arrived.sock)
        if self._arrivals and self._paused is None:
            self._going = self._loop.call_soon(self._go_on)

    def _make(self, arrived: Arrived) -> None:
        sock, who = arrived.sock, arrived.who
        try:
            pidfd = peer_pidfd(sock)
        except OSError as error:
            if error.errno in SHORT_OF:
                self._arrivals.put_back(arrived)
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


def _has_left(sock: socket.socket) -> bool:
    """Tell whether a peer has hung up and has sent nothing; costs 1 µs where it has not."""
    try:
        if sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            return False
    except OSError:
        return False
    # The end, or an empty packet.
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


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
