"""One connection of a client, except for waiting, which the blocking and the async client do each in its own way."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from utracectl.exit_codes import ERROR
from utracectl.messages import Failure
from utraced.api.events import AnyEvent
from utraced.errors import PermissionDenied, UtracedError
from utraced.linux import sockets
from utraced.rpc.connection import Connection
from utraced.rpc.encoding import JSON, MESSAGEPACK
from utraced.rpc.message import Response
from utraced.rpc.method import Method, Registry
from utraced.rpc.packet import Descriptors, Packet

Result = TypeVar("Result")
MAX_PACKET = 204_800
EVENT = "event"
CLOSED = "this client was closed"


class ConnectionEnded(Failure):
    """The daemon or worker hung up or died, or this client was closed; all that the session had asked for is undone."""

    status = ERROR


class TurnedAway(ConnectionEnded):
    """The daemon does not serve confined processes; what was asked of it was not carried out."""


class Asked(NamedTuple):
    """What is sent: its id (negative of what is not answered), and whether to send it twice changes nothing."""

    number: int
    packet: Packet
    looks: bool


class _Message(Struct):
    """A notification of an event."""

    method: Literal["event"]
    params: Raw


class _Decoder(Protocol):
    """What the decoders of both encodings offer."""

    def decode(self, data: bytes | Raw, /) -> Any:
        """Return the value; raises ``msgspec.DecodeError``."""


class Dialogue:
    """What was asked over a socket, and what has been heard and not yet taken.

    ``events`` are those that nobody has taken yet, encoded as they came.  ``ended`` says why there will be nothing
    more to hear.  ``changed``: something was done that the end of the connection undoes.  Descriptors are closed as
    soon as nobody can take them any longer.
    """

    def __init__(
        self, sock: socket.socket, *, json: bool, worker: int | None = None, replaceable: bool = False
    ) -> None:
        """Talk over a connected SOCK_SEQPACKET socket; ``worker`` is the pid of a worker started for it.

        ``replaceable``: where the daemon turns a confined process away, that is the end (``TurnedAway``).
        """
        sock.settimeout(0)
        self.socket = sock
        self.worker = worker
        self.events: deque[Raw] = deque()
        self.ended: ConnectionEnded | None = None
        self.changed = False
        self._replaceable = replaceable
        self._changing: set[int] = set()
        self._connection = Connection(Registry(), encoding=JSON if json else MESSAGEPACK)
        self._messages: _Decoder = (msgspec.json if json else msgspec.msgpack).Decoder(list[_Message])
        self._event: _Decoder = (msgspec.json if json else msgspec.msgpack).Decoder(AnyEvent)
        self._awaited: set[int] = set()
        self._responses: dict[int, Response] = {}
        self._silent = True
        self._sent: set[int] = set()
        self._reset = False

    def ask(self, method: Method[Any], fds: Sequence[int]) -> Asked:
        """Return a new request; raises ``LimitExceeded``, ``InvalidParams``, and ``ConnectionEnded``."""
        self._check()
        number, packet = self._connection.request(method, tuple(fds))
        return self._asked(Asked(number, packet, type(method).access == "looks"))

    def ask_raw(self, method: str, params: Mapping[str, Any] | None, fds: Sequence[int]) -> Asked:
        """Return a new request of a method by its name; raises as ``ask``."""
        self._check()
        number, packet = self._connection.call_raw(method, dict(params or {}), tuple(fds))
        return self._asked(Asked(number, packet, looks=False))

    def _asked(self, asked: Asked) -> Asked:
        self._awaited.add(asked.number)
        if not asked.looks:
            self._changing.add(asked.number)
        return asked

    def send(self, asked: Asked) -> bool:
        """Send a request; return whether the socket took it.  Raises ``OSError`` where its descriptors cannot be sent.

        A peer that hung up counts as taken: what it said before is still to be read, and then its end.
        """
        try:
            sockets.send(self.socket, asked.packet.data, asked.packet.fds)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            # It is told but once: receiving then gives the end of the stream.
            self._reset = self._reset or isinstance(error, ConnectionResetError)
            return True
        if self._silent:
            self._sent.add(asked.number)
        return True

    def receive(self) -> bool:
        """Take in one packet; return whether there was one, or the end."""
        if self.ended is not None:
            return True
        try:
            received = sockets.receive(self.socket, MAX_PACKET)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # Told but once, and before what there still is to be read.
            self._reset = True
            return self.receive()
        except OSError as error:
            self.ended = ConnectionEnded(f"the connection to the worker ended: {error.strerror}")
            return True
        except ConnectionEnded as error:
            # Of a socket that knows more of its end than the kernel.
            self.ended = error
            return True
        if not received.data:
            _close(received.fds)
            self.ended = ConnectionEnded("the worker hung up" if self.worker is None else "the worker ended")
            return True
        self._silent = False
        if received.fds or not self._receive_events(received.data):
            self._receive_any(received)
        return True

    def heard(self, number: int) -> bool:
        """Tell whether there is nothing more to wait for: the answer is there, or the end is."""
        return number in self._responses or self.ended is not None

    def answer(self, number: int) -> Response:
        """Take the answer to a request; raises ``ConnectionEnded`` where the end came first."""
        self._awaited.discard(number)
        response = self._responses.pop(number, None)
        if response is None:
            raise self.end()
        self.changed |= number in self._changing and response.error is None
        self._changing.discard(number)
        return response

    def give_up(self, asked: Asked) -> Asked | None:
        """Forget a request; return what is to be sent to cancel it, None where the answer or the end has come."""
        self._awaited.discard(asked.number)
        # Carried out, perhaps, before it was given up.
        self.changed |= asked.number in self._changing
        response = self._responses.pop(asked.number, None)
        if response is not None:
            close_all(response.descriptors)
        if response is not None or self.ended is not None:
            return None
        return Asked(-asked.number, self._connection.cancel(asked.number), looks=True)

    def may_repeat(self, asked: Asked | None = None) -> bool:
        """Tell whether a request may be asked again over another connection, as this one ended without a word.

        So ends a connection that waits to be served when the daemon ends.  Then nothing that was sent was read, which
        the kernel tells by ECONNRESET (unix_release_sock in net/unix/af_unix.c); with the end of the stream alone, only
        requests that change nothing are repeated.
        """
        if isinstance(self.ended, TurnedAway):
            return True
        if not self._silent or self.ended is None:
            return False
        if asked is None or asked.looks or asked.number not in self._sent:
            return True
        return self._reset and len(self._sent) == 1

    def decode(self, raw: Raw) -> AnyEvent | None:
        """Return the event, or None for one that only a newer daemon's clients know."""
        try:
            return cast(AnyEvent, self._event.decode(raw))
        except msgspec.DecodeError:
            return None

    def next_event(self) -> AnyEvent | None:
        """Take the next event that is known here; None where there is none."""
        while self.events:
            event = self.decode(self.events.popleft())
            if event is not None:
                return event
        return None

    def end(self) -> ConnectionEnded:
        """Return the error that tells of the end: each who waits gets one of his own, all of them say the same."""
        ended = self.ended or ConnectionEnded(CLOSED)
        return type(ended)(*ended.args)

    def close(self) -> None:
        """Hang up, and close the descriptors of answers that nobody took."""
        self.ended = self.ended or ConnectionEnded(CLOSED)
        self.socket.close()
        for response in self._responses.values():
            close_all(response.descriptors)

    def _check(self) -> None:
        if self.ended is not None:
            raise self.end()

    def _receive_any(self, received: sockets.Received) -> None:
        """Take in a packet of any kind."""
        taken = self._connection.receive(
            Packet(received.data, received.fds), truncated=received.truncated, fds_truncated=received.fds_truncated
        )
        self.events.extend([Raw(one.params) for one in taken.notifications if one.method == EVENT])
        awaited = False
        for response in taken.responses:
            if self._replaceable and _turns_away(response.error):
                self.ended = TurnedAway(str(response.error))
            elif response.id is None:
                self._complain(response)
            elif response.id in self._awaited:
                self._responses[response.id] = response
                awaited = True
        if not awaited:
            close_all(taken.fds)

    def _complain(self, response: Response) -> None:
        """Answer all that is awaited by an error that does not say what it is about: it may be any of them."""
        for number in self._awaited - self._responses.keys():
            self._responses[number] = response

    def _receive_events(self, data: bytes) -> bool:
        """Take in a batch that is nothing but events, as nearly all packets of a busy trace are.

        It does in a fifth of the time what ``Connection.receive`` does; all other packets are left to that.
        """
        try:
            messages: list[_Message] = self._messages.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        self.events.extend([message.params for message in messages])
        return True


def _turns_away(error: UtracedError | None) -> bool:
    """Tell whether an error is the broker's, that it does not serve this process."""
    return isinstance(error, PermissionDenied) and "confined" in error.data


def value_of(response: Response) -> Any:
    """Return the result, or raise the error and close what came with it."""
    try:
        return response.value()
    except UtracedError:
        close_all(response.descriptors)
        raise


def close_all(descriptors: Descriptors) -> None:
    """Close the descriptors that nobody took."""
    _close(descriptors.unclaimed())


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
