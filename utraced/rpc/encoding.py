"""The two encodings of packets, JSON (RFC 8259) and MessagePack, behind one interface (PROTOCOL.md §1).

Messages are put together from members that are encoded already, by concatenation: an event's parameters are encoded
once and reach every session so.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

import msgspec

from utraced.errors import InternalError, InvalidParams, ParseError
from utraced.model import decode_hook

Shape = Literal["object", "array", "scalar"]

HOOK = hex
"""Encodes ``Hex``, the one type of ours msgspec does not know, and refuses others with TypeError.  A function in Python
would take as long as all else of a reply with registers."""

_JSON_SHAPES: dict[bytes, Shape] = {b"{": "object", b"[": "array"}

SHOWN = 200
"""Characters of a client's own text that an error repeats; the rest tells nobody more."""


class Encoding(ABC):
    """One encoding: values to bytes and back."""

    name: str
    null: bytes
    no_members: bytes

    def __init__(self) -> None:
        self._decoders: dict[Any, Any] = {}
        self._notifications: dict[str, tuple[bytes, bytes]] = {}

    @abstractmethod
    def _encode(self, value: Any) -> bytes: ...

    @abstractmethod
    def _decoder(self, kind: Any) -> Any: ...

    @abstractmethod
    def check(self, data: bytes) -> None:
        """Raise ``ParseError`` for what the decoders let pass where they skip a value, wherever it stands in ``data``.

        What remains to be found is found by ``decode``.
        """

    @abstractmethod
    def exceeds(self, data: bytes, most: int) -> bool:
        """Tell whether there are more than ``most`` values in ``data``, names counted too, without decoding it.

        What this says of malformed data does not matter: it is found by ``check`` or ``decode``.
        """

    @abstractmethod
    def shape(self, data: bytes) -> Shape:
        """Say what a value is, if it is one at all, by its beginning."""

    @abstractmethod
    def join(self, items: Sequence[bytes]) -> bytes:
        """Return the array of values that are encoded already: a batch."""

    @abstractmethod
    def members(self, *pairs: tuple[str, bytes]) -> bytes:
        """Return the object of the names and the values, which are encoded already."""

    @abstractmethod
    def _around(self, *pairs: tuple[str, bytes]) -> tuple[bytes, bytes]:
        """Split what ``members`` returns at the end of the last value: what precedes it, what follows it."""

    def encode(self, value: Any) -> bytes:
        """Return a value of the protocol, encoded.

        Raises ``InternalError`` where it cannot be: a lone surrogate, an integer beyond 64 bits, a foreign type.
        """
        try:
            return self._encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError) as error:
            raise InternalError(f"{type(value).__name__} has no {self.name} form: {shown(str(error))}") from error

    def decode(self, data: bytes | msgspec.Raw, kind: Any = Any) -> Any:
        """Return the value as ``kind``; the decoder of each kind is made once.

        Raises ``ParseError`` where it is malformed or nested too deeply, and ``InvalidParams`` with ``path`` (from
        ``$``, the value itself) and, of unknown or missing ones, ``member``, where it does not fit ``kind``.
        """
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = self._decoder(kind)
        try:
            return decoder.decode(data)
        except msgspec.ValidationError as error:
            raise misfit(str(error)) from error
        except msgspec.DecodeError as error:
            raise ParseError(f"no {self.name}: {shown(str(error))}") from error
        except RecursionError as error:
            raise ParseError("nested too deeply", hint="64 levels always work.") from error
        except UnicodeDecodeError as error:
            raise ParseError("not UTF-8") from error

    @abstractmethod
    def response(self, raw_id: bytes, member: str, value: bytes) -> bytes:
        """Return the response of ``member`` ("result" or "error"); id and value are encoded already."""

    def notification(self, method: str, params: bytes) -> bytes:
        """Return a notification whose ``params`` are encoded already."""
        parts = self._notifications.get(method)
        if parts is None:
            parts = self._around(("jsonrpc", self.encode("2.0")), ("method", self.encode(method)), ("params", b""))
            self._notifications[method] = parts
        return parts[0] + params + parts[1]


class Json(Encoding):
    """JSON text in UTF-8."""

    name = "JSON"
    null = b"null"
    no_members = b"{}"

    _pair = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
    _surrogate = re.compile(rb"\\u[dD][89a-fA-F]")
    # A string without escapes, the beginning of an array or object, or a number or word.
    _value = rb'[\s,:\]}]*+(?:"[^"]*+"|[\[{]|[^\s,:\[\]{}"]++)'

    def __init__(self) -> None:
        super().__init__()
        self._encode_json = msgspec.json.Encoder(enc_hook=HOOK).encode
        self._more: dict[int, re.Pattern[bytes]] = {}

    def _encode(self, value: Any) -> bytes:
        return self._encode_json(value)

    def _decoder(self, kind: Any) -> Any:
        return msgspec.json.Decoder(kind, dec_hook=decode_hook)

    def check(self, data: bytes) -> None:
        """Find invalid UTF-8 and lone surrogates."""
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError as error:
                raise ParseError(f"not UTF-8 at byte {error.start}") from error
        # Of what is left of valid JSON without escaped backslashes every backslash begins an escape.
        if b"\\u" in data and self._surrogate.search(self._pair.sub(b"", data.replace(rb"\\", b"  "))):
            raise ParseError("a lone surrogate")

    def exceeds(self, data: bytes, most: int) -> bool:
        """Count what may begin a value, and only where that is too many what does: strings may hold it too."""
        if len(data) <= most or sum(map(data.count, (b",", b":", b"[", b"{"))) < most:
            return False
        pattern = self._more.get(most)
        if pattern is None:
            pattern = self._more[most] = re.compile(rb"(?:%b){%d}+" % (self._value, most + 1))
        return pattern.match(data.replace(rb"\\", b"  ").replace(rb"\"", b"  ")) is not None

    def shape(self, data: bytes) -> Shape:
        """Look at the first byte that is no white space."""
        return _JSON_SHAPES.get(data[:1]) or _JSON_SHAPES.get(data.lstrip(b" \t\r\n")[:1], "scalar")

    def join(self, items: Sequence[bytes]) -> bytes:
        """Put brackets and commas around the items."""
        return b"[" + b",".join(items) + b"]"

    def members(self, *pairs: tuple[str, bytes]) -> bytes:
        """Put braces, names and commas around the values."""
        return b"{" + b",".join(b'"' + name.encode() + b'":' + value for name, value in pairs) + b"}"

    def _around(self, *pairs: tuple[str, bytes]) -> tuple[bytes, bytes]:
        return self.members(*pairs)[:-1], b"}"

    def response(self, raw_id: bytes, member: str, value: bytes) -> bytes:
        """Return the response of one member."""
        return b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (raw_id, member.encode(), value)


class MessagePack(Encoding):
    """MessagePack without extension types; keys are strings, numbers are finite."""

    name = "MessagePack"
    null = b"\xc0"
    no_members = b"\x80"

    _scalars = frozenset({str, int, bool, type(None), bytes})

    def __init__(self) -> None:
        super().__init__()
        self._encode_messagepack = msgspec.msgpack.Encoder(enc_hook=HOOK).encode

    def _encode(self, value: Any) -> bytes:
        return self._encode_messagepack(value)

    def _decoder(self, kind: Any) -> Any:
        return msgspec.msgpack.Decoder(kind, dec_hook=decode_hook, ext_hook=_no_extension)

    def check(self, data: bytes) -> None:
        """Find invalid UTF-8, extension types, keys that are not strings, NaN and infinity."""
        values = [self.decode(data)]
        scalars = self._scalars
        while values:
            value = values.pop()
            kind = type(value)
            if kind in scalars:
                continue
            if kind is dict:
                for key in value:
                    if type(key) is not str:
                        raise ParseError("a key that is not a string")
                values.extend(value.values())
            elif kind is list:
                values.extend(value)
            elif kind is not float:
                raise ParseError("an extension type")  # msgspec's own: a timestamp
            elif not math.isfinite(value):
                raise ParseError("a number that is not finite")

    def exceeds(self, data: bytes, most: int) -> bool:
        """Go from one value to the next, for as many as may be."""
        size = len(data)
        if size <= most:
            return False
        at, awaited = 0, 1
        for counted in range(most + 1):
            if not awaited or awaited > size - at:  # the end, or malformed
                return False
            if counted + awaited > most:
                return True
            first = data[at]
            width, values = _COUNTED.get(first, (0, 0))
            at += 1
            awaited -= 1
            if width:
                count = int.from_bytes(data[at : at + width], "big")
                at += width
                awaited += values * count
                at += 0 if values else count
            elif first >= 0xC0:
                at += _SIZES.get(first, 0)
            elif first >= 0xA0:
                at += first & 0x1F
            elif first >= 0x80:
                awaited += first & 0x0F if first >= 0x90 else 2 * (first & 0x0F)
        return True

    def shape(self, data: bytes) -> Shape:
        """Look at the type of the first byte."""
        first = data[0]
        if 0x80 <= first <= 0x8F or first in {0xDE, 0xDF}:
            return "object"
        return "array" if 0x90 <= first <= 0x9F or first in {0xDC, 0xDD} else "scalar"

    def join(self, items: Sequence[bytes]) -> bytes:
        """Put the array's head before the items."""
        count = len(items)
        if count < 1 << 4:
            head = bytes((0x90 | count,))
        elif count < 1 << 16:
            head = b"\xdc" + count.to_bytes(2, "big")
        else:
            head = b"\xdd" + count.to_bytes(4, "big")
        return head + b"".join(items)

    def members(self, *pairs: tuple[str, bytes]) -> bytes:
        """Put the map's head and the names before the values, at most 15 with names below 32 bytes."""
        return bytes((0x80 | len(pairs),)) + b"".join(
            bytes((0xA0 | len(name),)) + name.encode() + value for name, value in pairs
        )

    def _around(self, *pairs: tuple[str, bytes]) -> tuple[bytes, bytes]:
        return self.members(*pairs), b""

    def response(self, raw_id: bytes, member: str, value: bytes) -> bytes:
        """Return the response of one member."""
        return b"\x83\xa7jsonrpc\xa32.0\xa2id%b%c%b%b" % (raw_id, 0xA0 | len(member), member.encode(), value)


_COUNTED = {
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
    0xDC: (2, 1),
    0xDD: (4, 1),
    0xDE: (2, 2),
    0xDF: (4, 2),
}
"""By first byte in MessagePack: bytes of the count that follows, and of how many values it counts the groups; none: it
counts bytes."""
_SIZES = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xCA: 4, 0xCB: 8}
"""Bytes that follow the first of a number; extension types are refused where they are decoded."""

JSON = Json()
MESSAGEPACK = MessagePack()

_MESSAGEPACK_FIRST = frozenset((*range(0x80, 0xA0), *range(0xDC, 0xE0)))


def encoding_of(data: bytes) -> Encoding:
    """Return the encoding that the first byte of a packet tells."""
    return MESSAGEPACK if data and data[0] in _MESSAGEPACK_FIRST else JSON


def shown(text: str) -> str:
    """Return a client's text as far as an error repeats it."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


_PLACE = re.compile(r" - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`$")
_MEMBER = re.compile(r"Object (?:missing required|contains unknown) field `(?P<member>.*)`", re.DOTALL)


def misfit(text: str) -> InvalidParams:
    """Return the error for what msgspec said of a value that does not fit its type."""
    place = _PLACE.search(text)
    what = text[: place.start()] if place else text
    path = place["path"] if place else "$"
    key = "a key of " if place and place["key"] else ""
    member = _MEMBER.fullmatch(what)
    return InvalidParams(
        f"{shown(what)} at {key}{shown(path)}", path=shown(path), member=shown(member["member"]) if member else None
    )


def _no_extension(code: int, data: memoryview) -> NoReturn:
    raise msgspec.DecodeError(f"extension type {code} of {len(data)} bytes")
