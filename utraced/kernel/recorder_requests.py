"""What the attacher is asked for: its methods.

They come from workers, by the packets and rules of the protocol (PROTOCOL.md §1, §2); the attacher believes nothing of
them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import LimitExceeded, NoSuchObject, NoSuchProcess, PermissionDenied, Unsupported
from utraced.model import Empty, Index, Value
from utraced.observing.paths import MOST_BYTES
from utraced.rpc.method import Method, Registry

MAX_NUMBERS = 512
"""Calls of one ABI."""
RING_SIZES = (1 << 20, 64 << 20)
"""The smallest and the largest ring, in bytes."""

Backend = Literal["kernel", "perf"]
"""By programs, or by events of tracepoints."""
Numbers = Annotated[tuple[Annotated[int, Meta(ge=0, lt=MAX_NUMBERS)], ...], Meta(max_length=MAX_NUMBERS)]


class Recorded(Value, frozen=True):
    """A new recording.

    ``ring`` and ``counters``: descriptors in the packet.  ``ring_size``: in bytes.  ``twice``: whether the ring's data
    can be mapped twice in a row.
    """

    recording: int
    ring: Index
    counters: Index
    ring_size: int
    twice: bool = True


class Record(Method[Recorded], frozen=True):
    """Record the system calls of a process.

    ``pidfd``: the process.  ``by``: what records.  ``x86_64``, ``i386``: the numbers of the calls.
    ``others``: calls of no such number too.
    ``strings``: bytes of each string.  ``stacks``: with the stack of each call.
    ``follow``: its children as well.  ``ring_size``: bytes, a power of two.
    ``failed_only``: only calls that fail.  ``path_prefix``: only those that name a path that begins so, without NUL.
    """

    method = "recorder.record"
    access = "changes"
    errors = (NoSuchProcess, PermissionDenied, Unsupported, LimitExceeded)

    pidfd: Index
    by: Backend = "kernel"
    x86_64: Numbers = ()
    i386: Numbers = ()
    others: bool = False
    strings: Annotated[int, Meta(ge=0, le=65_536)] = 32
    follow: bool = False
    stacks: bool = False
    ring_size: Annotated[int, Meta(ge=RING_SIZES[0], le=RING_SIZES[1])] = 16 << 20
    failed_only: bool = False
    path_prefix: Annotated[bytes, Meta(max_length=MOST_BYTES)] = b""


class End(Method[Empty], frozen=True):
    """End a recording."""

    method = "recorder.end"
    access = "changes"
    errors = (NoSuchObject,)

    recording: Annotated[int, Meta(ge=1)]


def requests() -> Registry:
    """Return the attacher's methods."""
    registry = Registry()
    registry.add(Record)
    registry.add(End)
    return registry
