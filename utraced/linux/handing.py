"""What the daemon's own processes tell each other, beside the descriptors that they pass on.

One packet is one message.  The broker trusts nothing that a worker says beyond what ``Taken`` is: a number.  What
others are told of a worker, ``Serve``, comes from the broker.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from utraced.configuration import Limits
from utraced.linux import sockets
from utraced.linux.attaching import NOTHING, Lacking
from utraced.linux.closing import close_aside
from utraced.linux.identity import Identity
from utraced.model import SessionAccess

WORKER_NAME = "utraced-worker"
"""The comm of a worker, in proc(5)'s word."""
MAX_MESSAGE = 200_000
"""Bytes: what a socket's default buffer carries."""
ATTACHER_SECONDS = 1.0
"""Between two answers to ``NeedsAttacher`` of one worker that bring a connection."""


class Order(Struct, frozen=True, tag="order"):
    """To the template: fork a worker that is ``identity``; with it goes the worker's end of its channel.

    ``refuses``: it only tells the connections it gets why they are refused.  ``lacking``: why there can
    be no attacher, or none that loads programs.
    """

    identity: Identity
    limits: Limits
    idle_seconds: float
    refuses: bool = False
    lacking: Lacking = NOTHING


class StartAttacher(Struct, frozen=True, tag="start_attacher"):
    """To the template: fork the attacher; with it goes the attacher's end of its control channel."""


class Connection(Struct, frozen=True, tag="connection"):
    """To a worker, with a client's socket: serve it.  ``name`` is the socket's at which it was accepted."""

    name: str
    access: SessionAccess


class Refusal(Struct, frozen=True, tag="refusal"):
    """To a worker, with a client's socket: answer its first request with this error, and close it.

    ``code``, ``message`` and ``data`` are the error's, as it goes over the wire.
    """

    name: str
    code: int
    message: str
    data: dict[str, Any]


class End(Struct, frozen=True, tag="end"):
    """To a worker: no connection will come any more; ``now``: let go of everything, else end when nobody is left."""

    now: bool = False


class Idle(Struct, frozen=True, tag="idle"):
    """From a worker: nobody is here, after ``taken`` connections; ``End`` answers it unless more are on their way."""

    taken: int


class Taken(Struct, frozen=True, tag="taken"):
    """From a worker: it has taken ``taken`` connections so far, and has read nothing yet of the last.

    One that it has not taken when it ends is the next worker's.
    """

    taken: int


class NeedsAttacher(Struct, frozen=True, tag="needs_attacher"):
    """From a worker: it wants a connection to the attacher; one ``Attacher`` answers it."""


class Attacher(Struct, frozen=True, tag="attacher"):
    """To a worker, with a connection to the attacher, or with a ``reason`` why it gets none."""

    reason: str = ""


class Serve(Struct, frozen=True, tag="serve"):
    """To the attacher, with a connected socket: what comes from there is asked by ``identity``.

    ``worker``: whose connection it is; it takes the place of an earlier one of the same worker's.
    """

    identity: Identity
    worker: int | None = None


class HandOn(Struct, frozen=True, tag="hand_on"):
    """To the broker, with a client's socket: serve it as ``identity``."""

    name: str
    access: SessionAccess
    identity: Identity


class Handed(NamedTuple):
    """A message and the descriptors that came with it, which are the receiver's to close."""

    message: object
    fds: tuple[int, ...]


def send(channel: socket.socket, message: Struct, fds: Sequence[int] = ()) -> None:
    """Send a message with copies of ``fds``; raises OSError, BlockingIOError where the other end takes no more."""
    sockets.send(channel, msgspec.msgpack.encode(message), fds)


class Receiver:
    """Takes messages of the given kinds off channels."""

    def __init__(self, *kinds: type[Struct]) -> None:
        union: object = kinds[0]
        for kind in kinds[1:]:
            union = union | kind
        self._decoder = msgspec.msgpack.Decoder(union)

    def wait(self, channel: socket.socket) -> Handed | None:
        """Wait for the next message, and return it as ``take`` does."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.poll()
        return self.take(channel)

    def take(self, channel: socket.socket) -> Handed | None:
        """Return the next message, None at the end of the stream.

        Raises BlockingIOError where there is none, ValueError for what is no message: its descriptors are closed.
        """
        try:
            received = sockets.receive(channel, MAX_MESSAGE)
        except ConnectionError:
            return None
        if not received.data:
            close_aside(received.fds)
            return None
        try:
            return Handed(self._decoder.decode(received.data), received.fds)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            close_aside(received.fds)
            raise ValueError(f"not a message: {error}") from error
