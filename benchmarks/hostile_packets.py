"""Packets that take long to carry out: as large, of as many values, of as many requests as may be."""

from __future__ import annotations

import msgspec

MAX_PACKET = 204_800
MAX_VALUES = 5000
MANY = MAX_VALUES - 50


def dear_packets() -> dict[str, list[bytes]]:
    """Return some by name: the dearest of many that were tried."""
    return {
        "deep and wide JSON": [
            _json(b"[" * 900 + b"]" * 900),
            _json(_listed(b"[]", MANY)),
            _json(_listed(b"{}", 60_000)),
        ],
        "escapes in JSON": [
            _json(b'"' + text * (190_000 // len(text)) + b'"') for text in (b"\\ud83d\\ude00", b"\\\\")
        ],
        "deep and wide MessagePack": [
            _messagepack(b"\x91" * 900 + b"\x90"),
            _messagepack(b"\xdd" + MANY.to_bytes(4, "big") + b"\x90" * MANY),
            _messagepack(b"\xdf" + (MANY // 2).to_bytes(4, "big") + b"".join(map(_key, range(MANY // 2)))),
        ],
        "batches of thousands": [_listed(b"{}", MANY), b"\xdd" + MANY.to_bytes(4, "big") + b"\x80" * MANY],
        "batches of 100, long": [
            msgspec.json.encode([_request(number, "daemon.hello", client="x" * 1900) for number in range(100)]),
            msgspec.msgpack.encode([_request("i" * 1900 + str(number), "no.such") for number in range(100)]),
        ],
        "batches of 100, dear": [
            msgspec.json.encode([_request(number, "rpc.discover", family="engine") for number in range(100)]),
            msgspec.json.encode([_request(number, "session.list") for number in range(100)]),
        ],
    }


def _request(number: object, method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _listed(value: bytes, count: int) -> bytes:
    return b"[" + b",".join([value] * count) + b"]"


def _key(number: int) -> bytes:
    return msgspec.msgpack.encode(f"{number:x}") + b"\x90"


def _json(value: bytes) -> bytes:
    """Return a request whose parameter is first a number and then ``value``, neither of which fits it."""
    return b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello","params":{"client":1,"client":%b}}' % value


def _messagepack(value: bytes) -> bytes:
    head = msgspec.msgpack.encode(_request(1, "daemon.hello"))[:-1]
    return head + b"\x82" + (msgspec.msgpack.encode("client") + b"\x01") + msgspec.msgpack.encode("client") + value
