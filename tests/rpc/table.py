"""Methods to try the connection with, and messages with the packets they are, in both encodings."""

from __future__ import annotations

from typing import Any

import msgspec

from utraced.model import Hex, Index, Value
from utraced.rpc.connection import Connection
from utraced.rpc.encoding import JSON, MESSAGEPACK, Encoding
from utraced.rpc.method import Method, Registry
from utraced.rpc.packet import Packet

ENCODINGS = (JSON, MESSAGEPACK)


class Echoed(Value, frozen=True):
    text: str = ""
    data: bytes = b""
    fd: Index | None = None


class Echo(Method[Echoed], frozen=True):
    method = "test.echo"
    text: str = ""
    data: bytes = b""
    fd: Index | None = None


class Peek(Method[Echoed], frozen=True):
    method = "test.peek"
    pid: int
    address: Hex | None = None
    events: tuple[str, ...] = ()
    nested: Any = None


def registry() -> Registry:
    methods = Registry()
    methods.add(Echo)
    methods.add(Peek)
    return methods


def serving(**options: Any) -> Connection:
    return Connection(registry(), **options)


def packet_of(encoding: Encoding, value: Any, fds: tuple[int, ...] = ()) -> Packet:
    encode = msgspec.json.encode if encoding is JSON else msgspec.msgpack.encode
    return Packet(encode(value), fds)


def value_of(packet: Packet) -> Any:
    """Decode without the code under test."""
    return msgspec.msgpack.decode(packet.data) if packet.data[0] >= 0x80 else msgspec.json.decode(packet.data)


def only_error(connection: Connection, packet: Packet, **flags: bool) -> tuple[Any, int, dict[str, Any]]:
    """Receive a packet that must lead to one error; return its id, code and data."""
    received = connection.receive(packet, **flags)
    assert [*received.requests, *received.responses, *received.notifications, *received.cancelled] == []
    (reply,) = received.replies
    value = value_of(reply)
    assert value["jsonrpc"] == "2.0"
    assert value["error"]["message"]
    assert value["error"]["data"]["hint"]
    return value["id"], value["error"]["code"], value["error"]["data"]


def call(method: Any, params: Any = None, **members: Any) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "method": method, **members}
    return body if params is None else {**body, "params": params}


# A value, and the bytes that say it: the left to encode and decode, in the form of each encoding.
VALUES: tuple[tuple[Any, bytes, bytes], ...] = (
    (None, b"null", b"\xc0"),
    (True, b"true", b"\xc3"),
    (7, b"7", b"\x07"),
    (-1, b"-1", b"\xff"),
    (2**64 - 1, b"18446744073709551615", b"\xcf" + b"\xff" * 8),
    (1.5, b"1.5", b"\xcb\x3f\xf8" + bytes(6)),
    ("é\n", b'"\xc3\xa9\\n"', b"\xa3\xc3\xa9\n"),
    ([], b"[]", b"\x90"),
    ([1, "a"], b'[1,"a"]', b"\x92\x01\xa1a"),
    ({"a": [None]}, b'{"a":[null]}', b"\x81\xa1a\x91\xc0"),
)

# A request as the asking end makes it, with the packets.
REQUESTS: tuple[tuple[Method[Any], bytes, bytes], ...] = (
    (
        Echo(),
        b'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{}}',
        b"\x84\xa7jsonrpc\xa32.0\xa2id\x01\xa6method\xa9test.echo\xa6params\x80",
    ),
    (
        Echo(text="x", data=b"\x00\xff", fd=0),
        b'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"x","data":"AP8=","fd":0}}',
        (
            b"\x84\xa7jsonrpc\xa32.0\xa2id\x01\xa6method\xa9test.echo\xa6params"
            b"\x83\xa4text\xa1x\xa4data\xc4\x02\x00\xff\xa2fd\x00"
        ),
    ),
    (
        Peek(pid=3, address=Hex(0x7F00)),
        b'{"jsonrpc":"2.0","id":1,"method":"test.peek","params":{"pid":3,"address":"0x7f00"}}',
        b"\x84\xa7jsonrpc\xa32.0\xa2id\x01\xa6method\xa9test.peek\xa6params\x82\xa3pid\x03\xa7address\xa60x7f00",
    ),
)

# Bytes that are neither JSON nor MessagePack as the protocol has it: -32700, id null.
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "cut JSON": b'{"jsonrpc":"2.0"',
    "NaN": b'{"jsonrpc":"2.0","id":1,"method":"test.peek","params":{"pid":NaN}}',
    "infinity": b'{"jsonrpc":"2.0","id":1,"method":"test.peek","params":{"pid":-Infinity}}',
    "lone high surrogate": rb'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"\ud800"}}',
    "lone low surrogate": rb'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"\udc00x"}}',
    "lone surrogate in an unknown member": rb'{"jsonrpc":"2.0","id":1,"method":"test.echo","more":"\uD83D\u0041"}',
    "lone surrogate in an unknown method": rb'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":["\udfff"]}}',
    "invalid UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"\xff"}}',
    "invalid UTF-8 in an unknown member": b'{"jsonrpc":"2.0","id":1,"method":"test.echo","more":"\xc3("}',
    "UTF-8 of a surrogate": b'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"\xed\xa0\x80"}}',
    "trailing bytes": b'{"jsonrpc":"2.0","id":1,"method":"test.echo"} x',
    "two values": b'{"jsonrpc":"2.0","id":1,"method":"test.echo"}{"jsonrpc":"2.0","id":2,"method":"test.echo"}',
    "byte order mark": b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"test.echo"}',
    "100,000 levels": b"[" * 100_000,
    "100,000 closed levels": b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
    "cut batch": b'[{"jsonrpc":"2.0","id":1,"method":"test.echo"},',
    "cut MessagePack": b"\x84\xa7jsonrpc\xa32.0",
    "array without end": b"\xdd\xff\xff\xff\xff",
    "trailing MessagePack": b"\x80\x80",
    "MessagePack of 100,000 levels": b"\x91" * 100_000,
    "extension": b"\x81\xa1a\xd4\x01\x00",
    "timestamp extension": b"\x81\xa1a\xd6\xff\x00\x00\x00\x00",
    "extension of a length": b"\x81\xa1a\xc7\x03\x05abc",
    "integer key": b"\x81\xa1a\x81\x01\x02",
    "binary key": b"\x81\xc4\x01a\x01",
    "MessagePack NaN": b"\x81\xa1a\xcb\x7f\xf8" + bytes(6),
    "MessagePack infinity": b"\x81\xa1a\xcb\x7f\xf0" + bytes(6),
    "MessagePack not UTF-8": b"\x81\xa1a\xa1\xff",
    "MessagePack UTF-8 of a surrogate": b"\x81\xa1a\xa3\xed\xa0\x80",
    "never used": b"\x81\xa1a\xc1",
}
