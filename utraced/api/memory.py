"""A process's memory."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from utraced.errors import BadAddress, Cancelled, NoSuchProcess, PermissionDenied, TimedOut
from utraced.model import Hex, Index, Value
from utraced.rpc.method import TargetMethod


class Hole(Value, frozen=True):
    """A part that could not be read and is zero in the data, from ``start`` up to but without ``end``."""

    start: Hex
    end: Hex


class Contents(Value, frozen=True):
    """What was read: ``data``, or ``size`` bytes written to the descriptor that was passed.

    ``holes``: what could not be read, with ``partial``.
    """

    data: bytes | None = None
    size: int | None = None
    holes: tuple[Hole, ...] | None = None


class Read(TargetMethod[Contents], frozen=True):
    """Read memory; no engine is needed and nothing stops.

    ``address``: the first byte.  ``size``: how many bytes, at most ``limits.max_read`` without ``fd``.  ``fd``: the
    index in the packet of a memfd, or of a file open for writing, into which any size is written from its offset 0.
    ``partial``: unreadable pages are zero and told in ``holes``; else they are ``bad_address``.
    """

    method = "memory.read"
    errors = (NoSuchProcess, PermissionDenied, BadAddress, Cancelled, TimedOut)

    address: Hex
    size: Annotated[int, Meta(ge=1, le=1 << 40)]
    fd: Index | None = None
    partial: bool = False
