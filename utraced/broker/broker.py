"""The broker: accepts, asks the kernel who it is, and hands the connection to that user's worker.

    client ──▶ broker ──▶ worker of (uid, gid, groups, capabilities)      the connection, by SCM_RIGHTS
                 └──────▶ template                                        an order for a new worker

It reads not one byte that a client has sent.  Of the others it reads what they are: a ``Taken``, an ``Idle`` or a
``NeedsAttacher`` from a worker, a ``HandOn`` from a process of root's.  It waits for nobody: what the other end of a
channel does not take is refused.

A client's socket is never closed for the last time here, as far as that can be helped: with it would be closed what
waits in it, and the last close of a descriptor that a client sent may take hours (SO_LINGER, a FUSE file).  Who is
refused goes to the refusing worker, which says why, and which nobody misses while it waits.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic

from utraced.configuration import Configuration
from utraced.errors import LimitExceeded, PermissionDenied
from utraced.linux.attaching import NOTHING, Lacking
from utraced.linux.closing import close_aside
from utraced.linux.credentials import peer, peer_uid
from utraced.linux.ending import ending_signals
from utraced.linux.handing import (
    Connection,
    HandOn,
    Receiver,
)
from utraced.linux.identity import Identity
from utraced.linux.listening import Listening, place
from utraced.linux.saying import log
from utraced.linux.systemd import Notifier
from utraced.model import SessionAccess

from .admission import Admission, PeerEnded
from .waiting import Waiting
from .workers import Workers

ACCEPTED = 256
"""Connections accepted before one of each user has its turn."""
AT_ONCE = 16
"""Messages, and connections at the hand-over socket, taken before the others have their turn."""
RETRY = 0.1
"""Seconds until connections are accepted again after a descriptor or memory lacked."""
MOST_HANDING = 64
"""Connections at the hand-over socket at the same time."""
STOPPING = 10.0
"""Seconds that the workers have to let go of everything."""


class Broker:
    """The broker's state and loop.

    ``start_template`` starts a template at the other end of the channel it returns.  ``hand_over`` is where root's
    processes hand connections on.  ``configuration`` names users by number.  ``lacking``: what an attacher lacks.
    """

    def __init__(  # noqa: PLR0913 - what a broker depends on
        self,
        listeners: Sequence[Listening],
        hand_over: Listening | None,
        *,
        admission: Admission,
        start_template: Callable[[], socket.socket],
        configuration: Configuration,
        lacking: Lacking = NOTHING,
    ) -> None:
        self._listeners = listeners
        self._hand_over = hand_over
        self._admission = admission
        self._selector = selectors.DefaultSelector()
        self._waiting = Waiting()
        self._workers = Workers(
            start_template=start_template,
            configuration=configuration,
            lacking=lacking,
            drop=self._waiting.drop,
            watch=self._watch,
            unwatch=self._unwatch,
        )
        self._handing = 0
        self._from_root = Receiver(HandOn)
        self._resume = 0.0

    # The loop

    def run(self, notifier: Notifier) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP; then have the workers let go of everything."""
        ending = _Ending()
        self._watch(ending.socket, ending.drain)
        self._workers.start()
        self._listen()
        names = ", ".join(map(place, self._listeners))
        log.info("pid %d listens at %s for everybody", os.getpid(), names)
        notifier.tell(READY=1, STATUS=f"Listening at {names}")
        while not ending.came:
            self._turn()
        log.info("stopping: %d workers let go of what they trace", len(self._workers))
        notifier.tell(STOPPING=1, STATUS="Letting go of what is traced")
        self._stop()

    def _turn(self) -> None:
        """Wait for something to do, and do it."""
        if self._waiting:
            self._react(0)
        else:
            self._react(max(0.0, self._resume - monotonic()) if self._resume else None)
        for sock, name in self._waiting.turn():
            self._admit(sock, name)
        self._waiting.leave()
        if self._resume and monotonic() >= self._resume:
            self._resume = 0.0
            self._listen()

    def _react(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            # What an earlier one of this round has closed is registered no more.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def _listen(self) -> None:
        for listener in self._listeners:
            listener.socket.setblocking(False)
            self._watch(listener.socket, partial(self._accept, listener, place(listener)))
        if self._hand_over is not None:
            self._hand_over.socket.setblocking(False)
            self._watch(self._hand_over.socket, partial(self._accept_handing, self._hand_over))

    def _listen_no_more(self) -> None:
        for listener in self._listeners:
            self._unwatch(listener.socket)
        if self._hand_over is not None:
            self._unwatch(self._hand_over.socket)

    def _lack(self, error: OSError) -> None:
        """Stop accepting for a moment: a descriptor or memory lacks, and what waits to be accepted would wake us."""
        log.error("cannot take more connections for now: %s", error.strerror)
        self._resume = monotonic() + RETRY
        self._listen_no_more()

    def _stop(self) -> None:
        """Have all workers end, and wait for that."""
        self._listen_no_more()
        self._workers.end()
        deadline = monotonic() + STOPPING
        while self._workers.ending and (left := deadline - monotonic()) > 0:
            self._react(left)

    # Connections

    def _accept(self, listener: Listening, name: str) -> None:
        for _ in range(ACCEPTED):
            sock = self._accepted(listener)
            if sock is None:
                return
            self._waiting.add(peer_uid(sock), sock, name)

    def _accepted(self, listener: Listening) -> socket.socket | None:
        """Return the next connection, None where there is none, or nothing to take it with."""
        try:
            return listener.socket.accept()[0]
        except BlockingIOError:
            return None
        except OSError as error:
            self._lack(error)
            return None

    def _admit(self, sock: socket.socket, name: str, on: HandOn | None = None) -> None:
        """Hand a connection to its user's worker, or to that of the user it was handed ``on`` for."""
        try:
            admitted = self._admission.admit(sock)
            identity = admitted.identity if on is None else on.identity
            access: SessionAccess = "full" if on is None else on.access
            self._workers.serve(sock, Connection(name, access), identity)
        except (PermissionDenied, LimitExceeded) as error:
            self._workers.refuse(sock, name, error)
        except PeerEnded:
            self._workers.refuse(sock, name, PermissionDenied("the process that connected has ended", reason="policy"))
        except OSError as error:
            self._lack(error)
            self._workers.refuse(sock, name, _lacking(error))

    # The hand-over

    def _accept_handing(self, listener: Listening) -> None:
        """Take connections of root's processes, which hand on others'."""
        for _ in range(AT_ONCE):
            sock = self._accepted(listener)
            if sock is None:
                return
            if self._handing >= MOST_HANDING or not self._may_hand_on(sock):
                close_aside([sock.detach()])
                continue
            self._handing += 1
            sock.setblocking(False)
            self._watch(sock, partial(self._take_handed, sock))

    def _may_hand_on(self, sock: socket.socket) -> bool:
        """Tell whether connections are taken that come over ``sock``."""
        try:
            may = self._admission.may_hand_on(sock)
        except OSError as error:
            self._lack(error)
            return False
        if not may:
            who = peer(sock)
            log.error("pid %d, uid %d cannot be every user, and hands on nothing", who.pid, who.uid)
        return may

    def _take_handed(self, sock: socket.socket) -> None:
        """Take connections that are handed on, until the end."""
        for _ in range(AT_ONCE):
            try:
                handed = self._from_root.take(sock)
            except BlockingIOError:
                return
            except ValueError as error:
                log.error("at the hand-over: %s", error)
                handed = None
            if handed is None:
                self._handing -= 1
                self._unwatch(sock)
                close_aside([sock.detach()])
                return
            message = handed.message
            if not isinstance(message, HandOn) or not _ordinary(message.identity) or not _connection(handed.fds):
                close_aside(handed.fds)
                continue
            self._admit(socket.socket(fileno=handed.fds[0]), message.name, message)

    # Watching

    def _watch(self, sock: socket.socket, react: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, react)

    def _unwatch(self, sock: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(sock)


class _Ending:
    """Whether a signal has asked for the end; ``socket`` is readable then."""

    def __init__(self) -> None:
        self.came = False
        self.socket, self._writer = socket.socketpair()
        for sock in (self.socket, self._writer):
            sock.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in ending_signals():
            signal.signal(number, self._note)

    def drain(self) -> None:
        """Take what the signals have written."""
        with suppress(BlockingIOError):
            self.socket.recv(1024)

    def _note(self, number: int, frame: object) -> None:
        self.came = True


def _ordinary(identity: Identity) -> bool:
    """Tell whether this is no root: who traces as root does so at the system's socket, with what he has himself."""
    return identity.uid != 0 and not identity.capabilities


def _connection(fds: Sequence[int]) -> bool:
    """Tell whether this is one descriptor, and of a socket."""
    return len(fds) == 1 and stat.S_ISSOCK(os.fstat(fds[0]).st_mode)


def _lacking(error: OSError) -> LimitExceeded:
    return LimitExceeded(
        f"the daemon lacks what a connection needs: {error.strerror or error}",
        limit="kernel_resources",
        hint="Connect again in a moment.",
    )
