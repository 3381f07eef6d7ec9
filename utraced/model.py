"""Values that every floor shares, in memory as on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct


class Hex(int):
    """A 64-bit value in parameters and results: ``"0x7f00"`` on the wire, an int in Python."""


HEX_PATTERN = "^0x[0-9a-fA-F]{1,16}$"

HexText = Annotated[str, Meta(extra_json_schema={"pattern": HEX_PATTERN})]
"""The same in events: written as text once, so that the hot path needs no hook."""

Pid = Annotated[int, Meta(ge=1, le=4_194_304)]
"""A process or thread id; the kernel's PID_MAX_LIMIT is 2**22."""

Index = Annotated[int, Meta(ge=0, le=15)]
"""The position of a file descriptor in its packet (at most 16)."""

Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]


def hex_text(value: int) -> str:
    """Return ``value`` as the protocol writes 64-bit values."""
    return f"{value & 0xFFFF_FFFF_FFFF_FFFF:#x}"


def encode_hook(value: Any) -> Any:
    """Encode ``Hex``, the one type of ours msgspec does not know."""
    if isinstance(value, Hex):
        return hex(value) if value >= 0 else hex_text(value)
    raise NotImplementedError(f"no wire form for {type(value).__name__}")


def decode_hook(kind: type, value: Any) -> Any:
    """Decode ``Hex`` from ``"0x…"`` or, tolerated, from an integer below 2**64 (PROTOCOL.md §1)."""
    if kind is not Hex:
        raise NotImplementedError(f"no wire form for {kind.__name__}")
    if isinstance(value, str):
        digits = value[2:]
        # int(…, 16) alone would take "_", spaces and signs.
        if value[:2] != "0x" or not 1 <= len(digits) <= 16 or not all(c in "0123456789abcdefABCDEF" for c in digits):
            raise ValueError('expected a string "0x" and 1 to 16 hexadecimal digits')
        return Hex(int(digits, 16))
    if type(value) is not int:
        raise ValueError('expected a string "0x…" or an integer')
    if not 0 <= value < 1 << 64:
        raise ValueError("expected an integer from 0 to 2**64-1")
    return Hex(value)


def schema_hook(kind: type) -> dict[str, Any]:
    """Give the JSON schema of ``Hex``."""
    if kind is Hex:
        return {"type": "string", "pattern": HEX_PATTERN}
    raise NotImplementedError(f"no schema for {kind.__name__}")


def text_of(data: bytes) -> str:
    """Return bytes of a target as text: UTF-8, every other byte as ``\\xNN`` (PROTOCOL.md §1)."""
    return data.decode("utf-8", "backslashreplace")


def exact_bytes(data: bytes, text: str) -> bytes | None:
    """Return ``data`` where ``text`` does not say it exactly (the ``…_bytes`` twin), else None."""
    return None if text.encode("utf-8", "surrogatepass") == data and "\\x" not in text else data


class Value(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of results and their parts; members that are at their default are left out."""


class Status(Value, frozen=True):
    """How a process or thread ended: ``code``, its exit status, or ``signal``, the one that killed it.

    ``core_dumped``: of a signal, whether a core was written.
    """

    code: int | None = None
    signal: str | None = None
    core_dumped: bool | None = None


SessionAccess = Literal["full", "observe"]
"""What a session may do: everything, or only look."""

ThreadState = Literal["running", "held", "stopped", "pending"]


class Holder(Value, frozen=True):
    """A session that holds a thread.  ``session``: its number.  ``pid``, ``comm``: its client and that one's name."""

    session: int
    pid: int | None = None
    comm: str | None = None


class ThreadStatus(Value, frozen=True):
    """A thread of an attached process.

    ``tid``: the thread.  ``state``: ``held`` by you, ``stopped`` by others, ``running``, or ``pending``: to be held,
    but it cannot stop yet.  ``holders``: all sessions that hold it.
    """

    tid: int
    state: ThreadState
    holders: tuple[Holder, ...] = ()


class Empty(Value, frozen=True):
    """A result without members."""


class Peer(Value, frozen=True):
    """Who is at the other end of a connection, as the kernel says.

    ``pid``: the process that connected.  ``uid``, ``gid``, ``groups``: its effective ids and supplementary groups then.
    """

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def encode_json(value: Any) -> bytes:
    """Encode any value of the protocol as JSON."""
    return msgspec.json.encode(value, enc_hook=encode_hook)
