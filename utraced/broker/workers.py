"""The workers: one for each (uid, gid, groups, capabilities), forked by the template when there is somebody for it.

A connection is kept here until its worker says that it has taken it: what one leaves behind that was killed goes to the
next.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import NamedTuple

from utraced.configuration import Configuration
from utraced.errors import LimitExceeded, PermissionDenied
from utraced.linux import handing
from utraced.linux.attaching import Lacking
from utraced.linux.closing import close_aside
from utraced.linux.handing import Connection, End, Idle, NeedsAttacher, Order, Receiver, Refusal, StartAttacher, Taken
from utraced.linux.identity import Identity
from utraced.linux.saying import log

from .attacher import SharedAttacher

MOST_GIVEN = 64
"""Connections of one worker that are kept for its successor: one that is stopped must not fill our descriptors."""
NOBODY = 65534
REFUSING = Identity(NOBODY, NOBODY)
"""Who the refusing worker is; a user 65534 of the system's has a worker of his own."""


class Given(NamedTuple):
    """A connection, the ``number``-th that a worker was handed, which it may not have taken yet."""

    number: int
    sock: socket.socket
    message: Connection | Refusal
    worker_for: Callable[[], Worker]


class Worker:
    """Worker number ``number``, at the other end of ``channel``: who it is, and how many connections it was handed.

    ``given`` are the last of those.
    """

    def __init__(self, key: Order, channel: socket.socket, number: int) -> None:
        self.key = key
        self.channel = channel
        self.number = number
        self.handed = 0
        self.given: deque[Given] = deque()

    def took(self, number: int) -> None:
        """Note how many it has taken."""
        while self.given and self.given[0].number <= number:
            # Should the worker have closed it already, this close is the last.
            close_aside([self.given.popleft().sock.detach()])


class Workers:
    """Finds the worker for a connection, or has it forked, and hands it on.

    ``start_template`` starts a template at the other end of the channel it returns.  ``configuration`` names users by
    number.  ``lacking`` is what an attacher lacks.  ``drop`` closes a connection that nobody takes.  ``watch`` and
    ``unwatch`` are the loop's.
    """

    def __init__(  # noqa: PLR0913 - what they depend on
        self,
        *,
        start_template: Callable[[], socket.socket],
        configuration: Configuration,
        lacking: Lacking,
        drop: Callable[[socket.socket], None],
        watch: Callable[[socket.socket, Callable[[], None]], None],
        unwatch: Callable[[socket.socket], None],
    ) -> None:
        self._start_template = start_template
        self._configuration = configuration
        self._lacking = lacking
        self._drop = drop
        self._watch = watch
        self._unwatch = unwatch
        self._workers: dict[Order, Worker] = {}
        self._ending: set[Worker] = set()
        self._stopping = False
        self._numbers = count(1)
        self._said = Receiver(Taken, Idle, NeedsAttacher)
        self._template: socket.socket | None = None
        self._attacher = SharedAttacher(
            partial(self._order, StartAttacher()), lacking.attacher, watch=watch, unwatch=unwatch
        )

    def __len__(self) -> int:
        """How many take connections."""
        return len(self._workers)

    @property
    def ending(self) -> bool:
        """Whether some have still to end that were told to."""
        return bool(self._ending)

    def serve(self, sock: socket.socket, message: Connection, identity: Identity) -> None:
        """Hand a connection to the worker that is ``identity``.

        Raises LimitExceeded where that takes no more, or its user has too many others, and OSError for what lacks.
        """
        self._hand(sock, message, partial(self._worker, identity))

    def refuse(self, sock: socket.socket, name: str, error: PermissionDenied | LimitExceeded) -> None:
        """Have the refusing worker say why."""
        refusal = Refusal(name, error.code, error.message, error.wire_data())
        try:
            self._hand(sock, refusal, lambda: self._worker_of(self._order_of(REFUSING, refuses=True)))
        except (LimitExceeded, OSError) as lack:
            log.error("a connection is closed without a word: %s", lack)
            self._drop(sock)

    def end(self) -> None:
        """Have all of them let go of everything and end; no others start."""
        self._stopping = True
        for worker in list(self._workers.values()):
            self._end(worker, now=True)

    def _hand(
        self,
        sock: socket.socket,
        message: Connection | Refusal,
        worker_for: Callable[[], Worker],
        *,
        keep: int = MOST_GIVEN,
    ) -> None:
        """Pass a connection to a worker; raises LimitExceeded where that takes no more.

        It is kept until the worker has taken it, unless ``keep`` others are.
        """
        for _ in range(2):
            worker = worker_for()
            try:
                handing.send(worker.channel, message, [sock.fileno()])
            except (BrokenPipeError, ConnectionResetError):
                # It has ended just now, and we have not been told yet: the next one is there for him.
                self._forget(worker)
                continue
            except OSError as error:
                raise _busy() from error
            worker.handed += 1
            if len(worker.given) < keep:
                worker.given.append(Given(worker.handed, sock, message, worker_for))
            else:
                close_aside([sock.detach()])
            return
        raise _busy()

    def _worker(self, identity: Identity) -> Worker:
        """Return the worker that is ``identity``; raises LimitExceeded where its user has too many others."""
        order = self._order_of(identity)
        if order not in self._workers:
            most = order.limits.workers
            others = sum(key.identity.uid == identity.uid and not key.refuses for key in self._workers)
            if others >= most:
                raise LimitExceeded(
                    f"user {identity.uid} has {others} workers, one for each set of groups it connects with",
                    limit="workers",
                    value=most,
                    hint="Connect with the groups of your login, or close the connections made with others.",
                )
        return self._worker_of(order)

    def _worker_of(self, order: Order) -> Worker:
        worker = self._workers.get(order)
        if worker is not None:
            return worker
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._order(order, theirs)
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        worker = self._workers[order] = Worker(order, ours, next(self._numbers))
        self._watch(ours, partial(self._hear, worker))
        return worker

    def _hear(self, worker: Worker) -> None:
        """Take what a worker says: that nobody is there, or, by the end of the channel, that it has ended."""
        try:
            handed = self._said.take(worker.channel)
        except BlockingIOError:
            return
        except ValueError:
            # Its user can do with a worker what he likes, but not with others.
            self._give_up(worker, "not understood")
            return
        if handed is None:
            self._forget(worker)
            return
        if handed.fds:
            # None of them has any: who passes descriptors is not ours any more, and might fill ours.
            close_aside(handed.fds)
            self._give_up(worker, "passes descriptors")
            return
        if isinstance(handed.message, NeedsAttacher):
            self._attacher.answer(worker.channel, worker.number, worker.key.identity)
        elif isinstance(handed.message, Taken):
            worker.took(handed.message.taken)
        # Not if more connections are on their way to it.
        elif isinstance(handed.message, Idle) and handed.message.taken == worker.handed:
            self._end(worker, now=False)

    def _end(self, worker: Worker, *, now: bool) -> None:
        """Have a worker end; it gets no more connections."""
        if self._workers.get(worker.key) is worker:
            del self._workers[worker.key]
        self._ending.add(worker)
        with suppress(OSError):
            handing.send(worker.channel, End(now))

    def _give_up(self, worker: Worker, why: str) -> None:
        """Have nothing to do any more with a worker, which may live on with what it was handed."""
        log.error("worker of uid %d: %s, given up", worker.key.identity.uid, why)
        worker.took(worker.handed)
        self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        """A worker has ended: what it had not taken is its successor's."""
        self._hear_last(worker)
        if self._workers.get(worker.key) is worker:
            del self._workers[worker.key]
        self._ending.discard(worker)
        self._unwatch(worker.channel)
        worker.channel.close()
        self._attacher.forget(worker.number)
        # At the end of a process its descriptors are closed one after the other: who hears of the end by one of them,
        # and connects anew, may be handed to it once more, before this channel is closed.
        while worker.given:
            given = worker.given.popleft()
            if self._stopping:
                self._drop(given.sock)
                continue
            try:
                # Not kept: of one that ends its workers there is an end.
                self._hand(given.sock, given.message, given.worker_for, keep=0)
            except (LimitExceeded, OSError) as error:
                log.error("a connection is closed without a word: %s", error)
                self._drop(given.sock)

    def _hear_last(self, worker: Worker) -> None:
        """Hear what a worker has taken that is at its end."""
        ends = 0
        # The end is told by an error first where messages of ours are unread there (unix_release_sock in
        # net/unix/af_unix.c), which stands before what it has said.
        while worker.given and ends < 2:
            try:
                handed = self._said.take(worker.channel)
            except (BlockingIOError, ValueError):
                return
            if handed is None:
                ends += 1
                continue
            close_aside(handed.fds)
            if isinstance(handed.message, Taken):
                worker.took(handed.message.taken)

    # The template

    def _order_of(self, identity: Identity, *, refuses: bool = False) -> Order:
        limits = self._configuration.limits_of(identity.uid, None)
        return Order(identity, limits, float(self._configuration.idle.worker), refuses, self._lacking)

    def _order(self, order: Order | StartAttacher, theirs: socket.socket) -> None:
        """Have the template fork a worker or the attacher; where it has ended, have a new one do it."""
        for _ in range(2):
            if self._template is None:
                self.start()
            assert self._template is not None
            try:
                handing.send(self._template, order, [theirs.fileno()])
                return
            except (BrokenPipeError, ConnectionResetError):
                self._template_ended()
        raise OSError("no template starts")

    def start(self) -> None:
        """Start the template; raises OSError."""
        self._template = self._start_template()
        self._template.setblocking(False)
        self._watch(self._template, self._template_ended)

    def _template_ended(self) -> None:
        """Have a new template at the next order: nothing is ever read of it but its end."""
        if self._template is not None:
            log.error("the template has ended: a new one is started")
            self._unwatch(self._template)
            self._template.close()
            self._template = None


def _busy() -> LimitExceeded:
    return LimitExceeded(
        "your worker takes no more connections",
        limit="connections",
        hint="It is busy, stopped or just ending: connect again in a moment.",
    )
