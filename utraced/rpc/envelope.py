"""What surrounds the parameters of a message: version, method, id (JSON-RPC 2.0, sections 4 and 5)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from utraced.errors import InvalidParams, InvalidRequest, UtracedError, from_wire
from utraced.rpc.encoding import Encoding
from utraced.rpc.message import Id


class Envelope(Struct, frozen=True):
    """Any message as it is on the wire; what is absent is None or empty."""

    jsonrpc: str = ""
    method: str | None = None
    id: Raw = Raw()
    params: Raw = Raw()
    result: Raw = Raw()
    error: Raw = Raw()


class Message(Struct, frozen=True):
    """A message: a request or notification where ``method`` is there, else a response; what is absent is empty.

    ``raw_id`` is null where there is no id or one that cannot be echoed.  ``fault`` says why it is none after all.
    """

    id: Id | UnsetType
    raw_id: bytes
    method: str | None = None
    params: bytes = b""
    result: bytes = b""
    error: bytes = b""
    fault: InvalidRequest | None = None


class WireError(Struct, frozen=True):
    """The error of a response."""

    code: int
    message: str
    data: Any = None


def read(encoding: Encoding, data: bytes | Raw) -> Message:
    """Return the message that one value is; raises ``ParseError`` where it is malformed."""
    fault = None
    try:
        envelope: Envelope = encoding.decode(data, Envelope)
    except InvalidParams:
        fault, envelope = _salvaged(encoding, data)
    identity, raw_id, bad_id = _identity(encoding, bytes(envelope.id))
    params, result, error = bytes(envelope.params), bytes(envelope.result), bytes(envelope.error)
    if error == encoding.null:
        error = b""  # JSON-RPC 1.0 wrote "error": null beside a result
    fault = fault or bad_id
    if fault is None:
        if envelope.jsonrpc != "2.0":
            fault = InvalidRequest('"jsonrpc" is not "2.0"')
        elif params and encoding.shape(params) == "scalar":
            fault = InvalidRequest('"params" is neither object nor array')
        elif envelope.method is None and not result and not error:
            fault = InvalidRequest('"method" is missing')
    return Message(identity, raw_id, envelope.method, params, result, error, fault)


def read_error(encoding: Encoding, raw: bytes) -> UtracedError:
    """Return the error of a response as the class that was raised at the other end."""
    try:
        error: WireError = encoding.decode(raw, WireError)
    except UtracedError as misfit:
        return InvalidRequest(f"the error of a response is malformed: {misfit.message}")
    return from_wire(error.code, error.message, error.data if isinstance(error.data, dict) else None)


def _identity(encoding: Encoding, raw_id: bytes) -> tuple[Id | UnsetType, bytes, InvalidRequest | None]:
    """Return an id as a value and as it came; what is none is absent, with the reason why."""
    if not raw_id:
        return UNSET, encoding.null, None
    try:
        identity: Id = encoding.decode(raw_id, Id)
    except InvalidParams:
        return UNSET, encoding.null, InvalidRequest('"id" is neither string, number nor null')
    except UtracedError:
        # A number beyond what Python converts: 1e400, or of more than 4,300 digits.
        return UNSET, encoding.null, InvalidRequest('"id" is a number out of range')
    return identity, raw_id, None


def _salvaged(encoding: Encoding, data: bytes | Raw) -> tuple[InvalidRequest | None, Envelope]:
    """Return what can be made out of a message with members of wrong types.

    There may be no fault: of duplicate members the last wins, and an earlier one may be of a wrong type.
    """
    try:
        members = encoding.decode(data, dict[str, Raw])
    except InvalidParams:
        return InvalidRequest("neither an object nor an array"), Envelope()
    fault = None
    texts: dict[str, str] = {}
    for name in ("jsonrpc", "method"):
        try:
            if name in members:
                texts[name] = encoding.decode(members[name], str)
        except InvalidParams:
            fault = InvalidRequest(f'"{name}" is not a string')
    raws = {name: members[name] for name in ("id", "params", "result", "error") if name in members}
    return fault, msgspec.structs.replace(Envelope(), **texts, **raws)
