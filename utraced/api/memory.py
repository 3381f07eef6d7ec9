"""A process's memory."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from utraced.errors import BadAddress, Cancelled, Gone, NoSuchObject, NoSuchProcess, PermissionDenied, TimedOut
from utraced.model import Hex, Index, Value
from utraced.rpc.method import Method, TargetMethod

from .engine import EngineId

Size = Annotated[int, Meta(ge=1, le=1 << 40)]


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
    A memfd that is passed again is the fast path: it stays mapped here, and is never made smaller, so that it may stay
    mapped at your end too.  ``partial``: unreadable pages are zero and told in ``holes``; else they are
    ``bad_address``.
    """

    method = "memory.read"
    errors = (NoSuchProcess, PermissionDenied, BadAddress, Cancelled, TimedOut)

    address: Hex
    size: Size
    fd: Index | None = None
    partial: bool = False


class Written(Value, frozen=True):
    """How many bytes were written: ``size``, which is all of them."""

    size: int


class Write(Method[Written], frozen=True):
    """Write memory of an engine's process, text that is read-only too; it need not be held.

    ``engine``: of this session.  ``address``: the first byte.  ``data``: the bytes; or ``fd``: the index in the packet
    of a memfd or file open for reading, from whose offset 0 ``size`` bytes are written, by default all of it.

    A ``bad_address`` comes when ``done`` bytes before it have been written.  Where all threads are held it is done
    before your next request; else wait for the reply before you let a thread run into what you write.  One that is
    ``cancelled`` or ``timed_out`` may have been carried out in part.
    """

    method = "memory.write"
    access = "changes"
    errors = (NoSuchObject, Gone, NoSuchProcess, PermissionDenied, BadAddress, Cancelled, TimedOut)

    engine: EngineId
    address: Hex
    data: bytes | None = None
    fd: Index | None = None
    size: Size | None = None


class Found(Value, frozen=True):
    """Where the bytes stand: ``addresses``, in order.  ``next``: where there is more to look at, the next ``start``."""

    addresses: tuple[Hex, ...]
    next: Hex | None = None


class Search(TargetMethod[Found], frozen=True):
    """Find bytes in all the memory that a process may read; no engine is needed and nothing stops.

    ``pattern``: the bytes.  ``start``, ``end``: look only there, by default everywhere; what is found lies inside as a
    whole.  ``limit``: of addresses in a reply.

    A reply comes after two seconds with what was found until then: go on at its ``next``.  Devices are passed over,
    and so is what no program has written or read: of shared mappings and those without a file only pages that are in
    memory, or swapped out, are looked at.
    """

    method = "memory.search"
    errors = (NoSuchProcess, PermissionDenied, Cancelled, TimedOut)

    pattern: Annotated[bytes, Meta(min_length=1, max_length=4096)]
    start: Hex = Hex(0)
    end: Hex | None = None
    limit: Annotated[int, Meta(ge=1, le=5000)] = 1000
