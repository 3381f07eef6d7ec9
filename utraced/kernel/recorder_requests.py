"""What the attacher is asked for: its methods, and the message that gives it a new client.

The methods come from workers, by the packets and rules of the protocol (PROTOCOL.md §1, §2); the attacher believes
nothing of them.  ``Serve`` comes from whoever started the attacher, and is believed.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from utraced.errors import LimitExceeded, NoSuchObject, NoSuchProcess, PermissionDenied, Unsupported
from utraced.linux.capabilities import CAP_SYS_PTRACE
from utraced.linux.identity import Identity
from utraced.model import Empty, Index, Value
from utraced.rpc.method import Method, Registry

MAX_NUMBERS = 512
"""Calls of one ABI."""
RING_SIZES = (1 << 20, 64 << 20)
"""The smallest and the largest ring, in bytes."""


CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 1 << 6, 1 << 7, 1 << 8
CAP_PERFMON, CAP_BPF = 1 << 38, 1 << 39
"""linux/include/uapi/linux/capability.h."""
NEEDED = CAP_BPF | CAP_PERFMON | CAP_SYS_PTRACE | CAP_SETUID | CAP_SETGID | CAP_SETPCAP
"""BPF: maps and programs.  PERFMON: programs that read the kernel's memory, at tracepoints.  SETUID, SETGID and
SETPCAP: to become a client when the kernel is asked; SYS_PTRACE: to ask as one that has it."""

Numbers = Annotated[tuple[Annotated[int, Meta(ge=0, lt=MAX_NUMBERS)], ...], Meta(max_length=MAX_NUMBERS)]


class Serve(Struct, frozen=True, tag="serve"):
    """To the attacher, with a connected socket: what comes from there is asked by ``identity``."""

    identity: Identity


class Recorded(Value, frozen=True):
    """A new recording.  ``ring`` and ``counters``: descriptors in the packet.  ``ring_size``: in bytes."""

    recording: int
    ring: Index
    counters: Index
    ring_size: int


class Record(Method[Recorded], frozen=True):
    """Record the system calls of a process.

    ``pidfd``: the process.  ``x86_64``, ``i386``: the numbers of the calls.  ``others``: calls of no such number too.
    ``strings``: bytes of each string.  ``follow``: its children as well.  ``ring_size``: bytes, a power of two.
    """

    method = "recorder.record"
    access = "changes"
    errors = (NoSuchProcess, PermissionDenied, Unsupported, LimitExceeded)

    pidfd: Index
    x86_64: Numbers = ()
    i386: Numbers = ()
    others: bool = False
    strings: Annotated[int, Meta(ge=0, le=65_536)] = 32
    follow: bool = False
    ring_size: Annotated[int, Meta(ge=RING_SIZES[0], le=RING_SIZES[1])] = 16 << 20


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
