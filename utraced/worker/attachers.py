"""Where a worker's connection to the attacher comes from: an attacher of its own, or the broker's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import anyio

from utraced.handlers.recorder import unsupported
from utraced.linux import handing
from utraced.linux.attaching import CAPABILITIES, Lacking, lacking
from utraced.linux.closing import close_aside
from utraced.linux.handing import ATTACHER_SECONDS, Attacher, NeedsAttacher, Serve
from utraced.linux.identity import Identity

StartAttacher = Callable[[], "socket.socket | None"]
GONE = "the daemon has ended, and with it what starts the attacher"


class Attachers(Protocol):
    """Gives connections to an attacher."""

    def lacking(self) -> Lacking:
        """Return why there can be none, or none that loads programs."""
        ...

    async def connect(self) -> socket.socket:
        """Return a connection; the caller has none now.  Raises Unsupported."""
        ...

    def close(self) -> None:
        """Let go of the attacher."""
        ...


class OwnAttacher:
    """An attacher of the worker's own, which ``start`` starts; it asks as ``identity``."""

    def __init__(self, start: StartAttacher, identity: Identity) -> None:
        self._start = start
        self._identity = identity
        self._lacking = lacking(identity.capabilities)
        self._control: socket.socket | None = None

    def lacking(self) -> Lacking:
        """See ``Attachers``."""
        return self._lacking

    async def connect(self) -> socket.socket:
        """See ``Attachers``."""
        self.close()
        control = self._start()
        if control is None:
            raise unsupported(self._lacking.attacher or CAPABILITIES)
        self._control = control
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            handing.send(control, Serve(self._identity), [theirs.fileno()])
        return ours

    def close(self) -> None:
        """See ``Attachers``."""
        if self._control is not None:
            self._control.close()
            self._control = None


class BrokersAttacher:
    """The attacher of all workers, by way of the broker at the other end of ``channel``.

    ``lacking`` is why there can be none.  What the broker answers is passed on to ``take``.
    """

    def __init__(self, channel: socket.socket, lacking: Lacking, *, clock: Callable[[], float] = monotonic) -> None:
        self._channel = channel
        self._lacking = lacking
        self._clock = clock
        self._lock = anyio.Lock()
        self._asked = False
        self._answered = anyio.Event()
        self._answer: socket.socket | str | None = None
        self._last = clock() - ATTACHER_SECONDS

    def lacking(self) -> Lacking:
        """See ``Attachers``."""
        return self._lacking

    async def connect(self) -> socket.socket:
        """See ``Attachers``."""
        async with self._lock:
            # One who was waiting may have gone: then the answer is for the next.
            if not self._asked and self._answer is None:
                await self._ask()
            while self._answer is None:
                await self._answered.wait()
            answer, self._answer = self._answer, None
        if isinstance(answer, str):
            raise unsupported(answer)
        return answer

    async def _ask(self) -> None:
        """Ask the broker, not more often than it answers."""
        await anyio.sleep(max(0.0, self._last + ATTACHER_SECONDS - self._clock()))
        if self._lacking.attacher is not None:
            raise unsupported(self._lacking.attacher)
        self._answered = anyio.Event()
        try:
            handing.send(self._channel, NeedsAttacher())
        except OSError as error:
            raise unsupported("the daemon takes no requests just now") from error
        self._asked = True

    def take(self, answer: Attacher, fds: tuple[int, ...]) -> None:
        """Take what the broker has answered."""
        if not self._asked:
            close_aside(fds)
            return
        self._asked = False
        self._last = self._clock()
        if fds:
            self._answer = socket.socket(fileno=fds[0])
        else:
            # Without either, the kernel has dropped a descriptor that this process may not have (MSG_CTRUNC).
            self._answer = answer.reason or "there are too many descriptors"
        self._answered.set()

    def ended(self) -> None:
        """The broker has ended."""
        self._lacking = Lacking(self._lacking.attacher or GONE, self._lacking.programs)
        if self._asked:
            self.take(Attacher(GONE), ())

    def close(self) -> None:
        """See ``Attachers``."""
        if isinstance(self._answer, socket.socket):
            self._answer.close()
        self._answer = None
