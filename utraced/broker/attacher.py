"""The attacher of all workers: started when one needs it, let go when none of those is left that did.

A worker is a stranger.  Whom the attacher takes it for, it is told by us alone.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from utraced.linux import handing
from utraced.linux.handing import ATTACHER_SECONDS, Attacher, Serve
from utraced.linux.identity import Identity
from utraced.linux.saying import log

TOO_OFTEN = "this worker has asked for the attacher just now: ask again in a second"
FAILED = "the attacher cannot be reached just now"
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET})


class SharedAttacher:
    """The one attacher, and which workers have asked for it.

    ``start`` has an attacher started at the other end of a socket; ``missing`` is why there can be none.  ``watch`` and
    ``unwatch`` are the loop's.
    """

    def __init__(
        self,
        start: Callable[[socket.socket], None],
        missing: str | None,
        *,
        watch: Callable[[socket.socket, Callable[[], None]], None],
        unwatch: Callable[[socket.socket], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._start = start
        self._missing = missing
        self._watch = watch
        self._unwatch = unwatch
        self._clock = clock
        self._control: socket.socket | None = None
        self._last: dict[int, float] = {}

    def answer(self, channel: socket.socket, worker: int, identity: Identity) -> None:
        """Give worker number ``worker``, at the other end of ``channel``, a connection, or tell it why not."""
        # Where it takes nothing, nobody is to be told, and a log could be filled; of its end the loop hears.
        with suppress(OSError):
            reason = self._connect(channel, worker, identity)
            if reason is not None:
                handing.send(channel, Attacher(reason))

    def forget(self, worker: int) -> None:
        """A worker has ended: without any that asked, the attacher is let go, and ends with its last connection."""
        if self._last.pop(worker, None) is not None and not self._last:
            self._drop()

    def _connect(self, channel: socket.socket, worker: int, identity: Identity) -> str | None:
        """Connect a worker; return why not.  Raises OSError where the worker takes nothing."""
        if self._missing is not None:
            return self._missing
        now = self._clock()
        if now - self._last.get(worker, -ATTACHER_SECONDS) < ATTACHER_SECONDS:
            return TOO_OFTEN
        self._last[worker] = now
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            log.error("no connection to the attacher: %s", error.strerror)
            return FAILED
        with ours, theirs:
            try:
                self._serve(Serve(identity, worker), theirs)
            except OSError as error:
                log.error("the attacher cannot be reached: %s", error.strerror or error)
                return FAILED
            handing.send(channel, Attacher(), [ours.fileno()])
        return None

    def _serve(self, serve: Serve, theirs: socket.socket) -> None:
        """Pass a connection to the attacher; where it has ended, to a new one.  Raises OSError."""
        for _ in range(2):
            control = self._running()
            try:
                handing.send(control, serve, [theirs.fileno()])
                return
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._drop()
        raise OSError("no attacher starts")

    def _running(self) -> socket.socket:
        """Return the control channel, of a new attacher where there is none; raises OSError."""
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                try:
                    self._start(theirs)
                except OSError:
                    ours.close()
                    raise
            ours.setblocking(False)
            self._control = ours
            self._watch(ours, self._ended)
        return self._control

    def _ended(self) -> None:
        """Have a new attacher at the next need: nothing is ever read of it but its end."""
        log.error("the attacher has ended: a new one is started when it is needed")
        self._drop()

    def _drop(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            self._unwatch(control)
            with suppress(OSError):
                control.close()
