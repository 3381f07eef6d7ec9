"""A blocking client of utraced.

Connecting is all there is to set up, closing undoes everything that was asked for:

    from utraced.api import process, trace
    from utracectl.client import connect

    with connect() as client:
        for entry in client.call(process.List()).processes:
            print(entry.pid, entry.command)
        started = client.call(trace.Start(pid=4711))
        for event in client.events():
            print(event)

Requests are the classes of ``utraced.api``, their answers those classes' results, and errors are raised as the classes
of ``utraced.errors``.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from utracectl.connect import Link, NotConnected, connect_socket
from utracectl.exit_codes import ERROR
from utracectl.messages import Failure
from utraced.api.events import AnyEvent
from utraced.errors import ParseError, UtracedError
from utraced.linux import sockets
from utraced.rpc.connection import Connection
from utraced.rpc.encoding import JSON, MESSAGEPACK
from utraced.rpc.message import Response
from utraced.rpc.method import Method, Registry
from utraced.rpc.packet import Descriptors, Packet

Result = TypeVar("Result")
MAX_PACKET = 204_800
EVENT = "event"
MOST_PACKETS = 64
"""Taken in at once: the events of so many are a few milliseconds' work."""


class ConnectionEnded(Failure):
    """The daemon or worker hung up or died; all that this session had asked for is undone."""

    status = ERROR


class _Message(Struct):
    """A notification of an event."""

    method: Literal["event"]
    params: Raw


class _Decoder(Protocol):
    """What the decoders of both encodings offer."""

    def decode(self, data: bytes | Raw, /) -> Any:
        """Return the value; raises ``msgspec.DecodeError``."""


class Client:
    """One connection: one session of the daemon.

    ``worker`` is the pid of an embedded worker that was started for this connection, else None.
    """

    def __init__(self, sock: socket.socket, *, worker: int | None = None, json: bool = False) -> None:
        """Talk over a connected SOCK_SEQPACKET socket, which the client then owns.

        ``json``: packets are JSON, which notifications then pass on as it came; by default they are MessagePack.
        """
        self.worker = worker
        self._socket = sock
        self._connection = Connection(Registry(), encoding=JSON if json else MESSAGEPACK)
        self._events: deque[Raw] = deque()
        self._messages: _Decoder = (msgspec.json if json else msgspec.msgpack).Decoder(list[_Message])
        self._event: _Decoder = (msgspec.json if json else msgspec.msgpack).Decoder(AnyEvent)
        self._responses: dict[int, Response] = {}
        self._ended: str | None = None
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        sock.settimeout(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the daemon undoes everything of this session."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the socket's descriptor: when it is readable, ``poll(0)`` has something."""
        return self._socket.fileno()

    def call(self, method: Method[Result], fds: Sequence[int] = ()) -> Result:
        """Ask and wait for the answer; ``fds`` go with the request and stay open here.

        Raises the error that the daemon answers (``utraced.errors``), and ``ConnectionEnded``.  Descriptors that come
        with the answer are closed: where there are any, use ``call_with_descriptors``.
        """
        result, descriptors = self.call_with_descriptors(method, fds)
        _close_all(descriptors)
        return result

    def call_with_descriptors(self, method: Method[Result], fds: Sequence[int] = ()) -> tuple[Result, Descriptors]:
        """Ask as ``call`` does; the descriptors of the answer are taken by the indices in it, and closed, by you."""
        number, packet = self._connection.request(method, tuple(fds))
        response = self._answer(number, packet)
        return cast(Result, _value(response)), response.descriptors

    def call_raw(self, method: str, params: Mapping[str, Any] | None = None, fds: Sequence[int] = ()) -> Any:
        """Ask by the method's name, with parameters as they stand on the wire; the result likewise."""
        number, packet = self._connection.call_raw(method, dict(params or {}), tuple(fds))
        response = self._answer(number, packet)
        try:
            return _value(response)
        finally:
            _close_all(response.descriptors)

    def events(self) -> Iterator[AnyEvent]:
        """Wait for events and yield each, until the connection ends, which raises ``ConnectionEnded``."""
        while True:
            yield from self.poll()

    def poll(self, timeout: float | None = None) -> list[AnyEvent]:
        """Return the events that have come; wait up to ``timeout`` seconds (None: for ever) where there is none yet."""
        return [event for raw in self.raw_events(timeout) if (event := self.decode(raw)) is not None]

    def raw_events(self, timeout: float | None = None) -> list[Raw]:
        """Return what ``poll`` decodes, as it came: ``params`` of the events, in the connection's encoding."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self._drain()
            if self._events or not self._wait(deadline):
                break
        found = list(self._events)
        self._events.clear()
        return found

    def decode(self, raw: Raw) -> AnyEvent | None:
        """Return the event, or None for one that only a newer daemon's clients know."""
        try:
            return cast(AnyEvent, self._event.decode(raw))
        except msgspec.DecodeError:
            return None

    def _answer(self, number: int, packet: Packet) -> Response:
        """Send a request and return the response to it."""
        self._send(packet)
        while number not in self._responses:
            self._wait(None)
            self._receive()
        return self._responses.pop(number)

    def _send(self, packet: Packet) -> None:
        """Send one packet, and take in what comes while the daemon takes nothing."""
        while True:
            try:
                sockets.send(self._socket, packet.data, packet.fds)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._socket, select.POLLIN | select.POLLOUT)
                if any(mask & select.POLLIN for _, mask in poll.poll()):
                    self._receive()
            except OSError as error:
                # What the daemon said before it hung up may still be there to be read, and to be raised.
                self._ended = self._ended or os.strerror(error.errno or 0)
                return
            else:
                return

    def _wait(self, deadline: float | None) -> bool:
        """Return whether the socket is readable, at the latest at ``deadline``."""
        timeout = None if deadline is None else max(0.0, deadline - monotonic()) * 1000
        return bool(self._poll.poll(timeout))

    def _drain(self) -> None:
        """Take in packets that are there already, but go on with what they said before all too long."""
        try:
            for _ in range(MOST_PACKETS):
                if not self._receive():
                    return
        except ConnectionEnded:
            # What came before the end comes first; the end is met again.
            if not self._events:
                raise

    def _receive(self) -> bool:
        """Take in one packet; returns whether there was one."""
        try:
            received = sockets.receive(self._socket, MAX_PACKET)
        except BlockingIOError:
            if self._ended is not None:
                raise ConnectionEnded(f"the connection to the worker ended: {self._ended}") from None
            return False
        except OSError as error:
            raise ConnectionEnded(f"the connection to the worker ended: {error.strerror}") from error
        if not received.data:
            raise ConnectionEnded("the worker hung up" if self.worker is None else "the worker ended")
        if not received.fds and self._receive_events(received.data):
            return True
        taken = self._connection.receive(
            Packet(received.data, received.fds),
            truncated=received.truncated,
            fds_truncated=received.fds_truncated,
        )
        self._events.extend([Raw(one.params) for one in taken.notifications if one.method == EVENT])
        for response in taken.responses:
            if response.id is None:
                raise response.error or ParseError("an answer without an id")
            self._responses[response.id] = response
        if not taken.responses:
            _close_all(taken.fds)
        return True

    def _receive_events(self, data: bytes) -> bool:
        """Take in a batch that is nothing but events, as nearly all packets of a busy trace are.

        It does in a fifth of the time what ``Connection.receive`` does; all other packets are left to that.
        """
        try:
            messages: list[_Message] = self._messages.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        self._events.extend([message.params for message in messages])
        return True


def connect(*, json: bool = False) -> Client:
    """Connect to the daemon, or to an embedded worker where there is none.

    ``json``: as in ``Client``.  Raises ``NotConnected``.

        with connect() as client:
            print(client.call(daemon.Hello()).version)
    """
    return client_of(connect_socket(), json=json)


def client_of(link: Link, *, json: bool = False) -> Client:
    """Return a client over a socket that is connected already."""
    return Client(link.socket, worker=link.worker, json=json)


def _value(response: Response) -> Any:
    """Return the result, or raise the error, and then close what came with it."""
    try:
        return response.value()
    except UtracedError:
        _close_all(response.descriptors)
        raise


def _close_all(descriptors: Descriptors) -> None:
    """Close the descriptors that nobody took."""
    for fd in descriptors.unclaimed():
        os.close(fd)


__all__ = ["Client", "ConnectionEnded", "NotConnected", "client_of", "connect"]
