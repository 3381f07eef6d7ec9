"""One end of a connection: packets in, messages out, and back; both ends are the same object.

The law: any bytes give messages or a ready reply, never an exception.

Decisions where the protocol leaves room: an error is never answered, lest two ends answer each other for ever; a
request of id null is in use as long as any other; ``$/cancelRequest`` with an id of its own gets ``{}``; of a packet
whose descriptors the kernel cut off every request is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import UNSET, Raw, Struct, UnsetType, structs

from utraced.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    LimitExceeded,
    MethodNotFound,
    UtracedError,
)
from utraced.rpc.batch import (
    MAX_FDS,
    Batch,
    Reply,
    error_body,
    error_reply,
    fitting,
    result_body,
    too_many_fds_error,
)
from utraced.rpc.encoding import JSON, Encoding, encoding_of, shown
from utraced.rpc.envelope import Message, read, read_error
from utraced.rpc.message import Id, Notification, Received, Request, Response
from utraced.rpc.method import Method, Registry
from utraced.rpc.packet import Descriptors, Packet

Result = TypeVar("Result")

CANCEL = "$/cancelRequest"
SECOND_LOOK = 10_000
"""Bytes of parameters above which a misfit is not looked at again for duplicate members: that decodes all of them."""


class Cancel(Method[None], frozen=True):
    """Cancel a request of this connection that still waits for its answer."""

    method = CANCEL
    id: str | int | float | None


class Arrival(Struct, frozen=True):
    """What the messages of one packet share."""

    encoding: Encoding
    received: Received
    fds_truncated: bool
    batch: Batch | None = None


class Connection:
    """The state of one connection: the requests that wait at this end and at the other.

    ``max_packet`` is in bytes.  ``max_values`` is how many values a packet received may hold, names of members too,
    None without end: it is decoded in one go, and its bytes say little of how long that takes.  ``encoding`` is that of
    our own requests; ``event_encoding`` that of the first packet received, JSON before any.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        max_packet: int = 204_800,
        max_batch: int = 100,
        max_values: int | None = None,
        encoding: Encoding = JSON,
    ) -> None:
        self.registry = registry
        self.max_packet = max_packet
        self.max_batch = max_batch
        self.max_values = max_values
        self.encoding = encoding
        self.event_encoding: Encoding = JSON
        self._first = True
        self._waiting: dict[Id | UnsetType, Request] = {}
        self._asked: dict[Id | UnsetType, Any] = {}
        self._last_id = 0
        self._unsent: list[int] = []

    def receive(self, packet: Packet, *, truncated: bool = False, fds_truncated: bool = False) -> Received:
        """Return what a packet says; ``truncated`` is MSG_TRUNC, ``fds_truncated`` MSG_CTRUNC of recvmsg(2)."""
        data = packet.data
        encoding = encoding_of(data)
        if self._first:
            self._first = False
            self.event_encoding = encoding
        received = Received(fds=Descriptors(packet.fds))
        try:
            if truncated or len(data) > self.max_packet:
                raise LimitExceeded(
                    "the packet is too large",
                    limit="max_packet",
                    value=self.max_packet,
                    hint="Send less at a time, or pass a file descriptor for the data.",
                )
            if self.max_values is not None and encoding.exceeds(data, self.max_values):
                raise LimitExceeded(
                    f"the packet holds more than {self.max_values} values",
                    limit="max_values",
                    value=self.max_values,
                    hint="Send less at a time: names, numbers, texts, arrays and objects are counted.",
                )
            encoding.check(data)
            arrival = Arrival(encoding, received, fds_truncated)
            if encoding.shape(data) == "array":
                self._receive_batch(arrival, encoding.decode(data, list[Raw]))
            else:
                self._receive_one(arrival, data)
        except UtracedError as error:
            received.replies.append(Packet(error_reply(encoding, encoding.null, error).body))
        return received

    def result(self, request: Request, value: object, fds: tuple[int, ...] = ()) -> list[Packet]:
        """Return the packets to send now that a request has its result: none while others of its batch wait.

        Members of ``value`` that are ``model.Index`` count from 0 in ``fds``.  Descriptors of a result that is not
        sent (too large, or answered before, as by a cancellation) are in ``take_unsent``.
        Raises ``InternalError`` where the value cannot be encoded: ``error`` then answers the request.
        """
        body = result_body(request.encoding, request.raw_id, value) if not request.is_notification else b""
        return self._answer(request, Reply(request.raw_id, body, value if fds else None, fds))

    def error(self, request: Request, error: UtracedError) -> list[Packet]:
        """Return the packets to send now that a request has failed."""
        return self._answer(request, error_reply(request.encoding, request.raw_id, error))

    def take_unsent(self) -> list[int]:
        """Return the descriptors of results that were not sent, for the transport to close, and forget them."""
        if not self._unsent:
            return []
        unsent, self._unsent = self._unsent, []
        return unsent

    def close(self) -> list[int]:
        """Return the descriptors that answers of unfinished batches hold, and forget all that waits."""
        batches = {id(request.batch): request.batch for request in self._waiting.values() if request.batch}
        self._waiting.clear()
        self._asked.clear()
        return self.take_unsent() + [fd for batch in batches.values() for fd in batch.fds()]

    def request(self, call: Method[Result], fds: tuple[int, ...] = ()) -> tuple[int, Packet]:
        """Return the id of a new request and its packet; the ``Response`` of that id has the method's result.

        Raises ``LimitExceeded`` where it does not fit a packet, ``InvalidParams`` where it cannot be encoded.
        """
        return self._ask(call.method, call, type(call).result, fds)

    def call_raw(self, method: str, params: Mapping[str, Any], fds: tuple[int, ...] = ()) -> tuple[int, Packet]:
        """Do as ``request`` with a method that this client need not know."""
        return self._ask(method, params, Any, fds)

    def cancel(self, request_id: int) -> Packet:
        """Return the packet that cancels a request of ours; its response still comes."""
        return Packet(self.encoding.notification(CANCEL, self.encoding.encode(Cancel(id=request_id))))

    def _ask(self, method: str, params: object, kind: Any, fds: tuple[int, ...]) -> tuple[int, Packet]:
        encoding = self.encoding
        number = self._last_id + 1
        try:
            data = encoding.members(
                ("jsonrpc", encoding.encode("2.0")),
                ("id", encoding.encode(number)),
                ("method", encoding.encode(method)),
                ("params", encoding.encode(params)),
            )
        except InternalError as error:
            hint = "Text must be valid Unicode and integers have at most 64 bits; give other bytes as base64."
            raise InvalidParams(error.message, hint=hint) from error
        if len(data) > self.max_packet:
            raise LimitExceeded(
                f"the request of {len(data)} bytes does not fit a packet",
                limit="max_packet",
                value=self.max_packet,
                hint="Send less at a time, or pass a file descriptor for the data.",
            )
        if len(fds) > MAX_FDS:
            raise too_many_fds_error()
        self._last_id = number
        self._asked[number] = kind
        return number, Packet(data, fds)

    def _answer(self, request: Request, reply: Reply) -> list[Packet]:
        if request.is_notification or self._waiting.get(request.id) is not request:
            self._unsent += reply.fds
            return []
        del self._waiting[request.id]
        if request.batch is not None:
            request.batch.fill(request.slot, reply)
            return self._finish(request.batch)
        sent = fitting(request.encoding, reply, self.max_packet)
        if sent is not reply:
            self._unsent += reply.fds
        return [Packet(sent.body, sent.fds)]

    def _finish(self, batch: Batch) -> list[Packet]:
        if batch.open or not batch.replies:
            return []
        packet, left = batch.packet()
        self._unsent += left
        return [packet]

    def _receive_batch(self, arrival: Arrival, members: list[Raw]) -> None:
        if not members:
            raise InvalidRequest("an empty batch")
        batch = Batch(arrival.encoding, self.max_packet)
        arrival = structs.replace(arrival, batch=batch)
        for member in members[: self.max_batch]:
            self._receive_one(arrival, member)
        self._refuse_rest(arrival.encoding, members[self.max_batch :], batch)
        arrival.received.replies += self._finish(batch)

    def _refuse_rest(self, encoding: Encoding, members: list[Raw], batch: Batch) -> None:
        """Answer the requests above ``max_batch``, as far as a packet holds the answers."""
        error = error_body(
            encoding,
            LimitExceeded(
                f"a batch holds {self.max_batch} members",
                limit="max_batch",
                value=self.max_batch,
                hint="Send the others in packets of their own.",
            ),
        )
        size = 0
        for member in members:
            raw_id = encoding.null
            if encoding.shape(bytes(member)) == "object":
                message = read(encoding, member)
                if message.error or (message.id is UNSET and not message.fault):
                    continue
                raw_id = message.raw_id
            reply = Reply(raw_id, encoding.response(raw_id, "error", error))
            batch.add(reply)
            size += len(reply.body)
            if size > self.max_packet:  # the batch then ends its packet with one error for those that do not fit
                break

    def _receive_one(self, arrival: Arrival, data: bytes | Raw) -> None:
        message = read(arrival.encoding, data)
        if message.method is None and (message.error or message.result):
            self._receive_response(arrival, message)
        elif message.fault:
            self._refuse(arrival, message, message.fault)
        elif message.id in self._waiting:
            self._refuse(
                arrival, message, InvalidRequest("the id is in use", hint="Give each request an id of its own.")
            )
        else:
            self._receive_request(arrival, message, message.method or "")

    def _receive_request(self, arrival: Arrival, message: Message, name: str) -> None:
        encoding, received, batch = arrival.encoding, arrival.received, arrival.batch
        kind = Cancel if name == CANCEL else self.registry.methods.get(name)
        notifies = message.id is UNSET
        if kind is None:
            if notifies:
                raw = message.params or encoding.no_members
                received.notifications.append(Notification(method=name, params=raw, encoding=encoding))
            else:
                self._refuse(arrival, message, self._unknown(name, batch))
            return
        try:
            if arrival.fds_truncated:
                raise too_many_fds_error()
            params = self._params(encoding, message.params, kind)
        except UtracedError as error:
            if not notifies:
                self._refuse(arrival, message, error)
            return
        if isinstance(params, Cancel):
            waiting = self._waiting.get(params.id)
            if waiting is not None:
                received.cancelled.append(waiting)
            if not notifies:
                body = encoding.response(message.raw_id, "result", encoding.no_members)
                self._reply(arrival, Reply(message.raw_id, body))
            return
        request = Request(
            id=message.id,
            method=name,
            params=params,
            descriptors=received.fds,
            encoding=encoding,
            raw_id=message.raw_id,
            batch=batch,
            slot=batch.reserve() if batch is not None and not notifies else 0,
        )
        if not notifies:
            self._waiting[request.id] = request
        received.requests.append(request)

    def _receive_response(self, arrival: Arrival, message: Message) -> None:
        encoding, number = arrival.encoding, message.id
        ours: int | None = None
        kind = Any
        if isinstance(number, int | float) and number in self._asked:
            kind, ours = self._asked.pop(number), int(number)
        elif not message.error:
            self._refuse(arrival, message, InvalidRequest("a result that nobody asked for"))
            return
        elif number is not None:
            return
        error = read_error(encoding, message.error) if message.error else None
        if ours is not None:
            error = error or message.fault or (too_many_fds_error() if arrival.fds_truncated else None)
        response = Response(
            id=ours,
            encoding=encoding,
            descriptors=arrival.received.fds,
            result=message.result if error is None else b"",
            error=error,
            kind=kind,
        )
        arrival.received.responses.append(response)

    def _params(self, encoding: Encoding, raw: bytes, kind: type[Method[Any]]) -> Method[Any]:
        data = raw or encoding.no_members
        if encoding.shape(data) == "array":
            raise InvalidParams("parameters are by name", path="$", hint='Send "params" as an object.')
        try:
            params: Method[Any] = encoding.decode(data, kind)
        except InvalidParams as error:
            if error.data.get("path") == "$" and "member" in error.data:
                raise self._explained(error, kind) from error
            if len(data) > SECOND_LOOK:
                raise
            try:
                # Of duplicate members the last wins, while the decoder refused an earlier one.
                params = encoding.decode(encoding.encode(encoding.decode(data)), kind)
            except UtracedError:
                raise error from None
        return params

    def _explained(self, error: InvalidParams, kind: type[Method[Any]]) -> InvalidParams:
        """Return the error with the names that would have been understood."""
        names = ", ".join(kind.__struct_encode_fields__) or "none"
        return InvalidParams(error.message, hint=f"The parameters of {kind.method} are: {names}.", **error.data)

    def _unknown(self, name: str, batch: Batch | None) -> MethodNotFound:
        # A search takes half a millisecond: a batch could hold up the others by a hundred of them.
        near = difflib.get_close_matches(name, self.registry.methods, 1) if batch is None and len(name) < 64 else []
        hint = f"Did you mean {near[0]}? {MethodNotFound.default_hint}" if near else None
        return MethodNotFound(f"no method {shown(name)}", hint=hint)

    def _refuse(self, arrival: Arrival, message: Message, error: UtracedError) -> None:
        self._reply(arrival, error_reply(arrival.encoding, message.raw_id, error))

    def _reply(self, arrival: Arrival, reply: Reply) -> None:
        if arrival.batch is not None:
            arrival.batch.add(reply)
        else:
            arrival.received.replies.append(Packet(fitting(arrival.encoding, reply, self.max_packet).body))
