"""A thread at the entry or exit of a system call, as a tracer or a record shows it."""

from __future__ import annotations

from msgspec import Struct


class Stop(Struct, gc=False):
    """A thread ``tid`` stopped at ``time_ns`` (CLOCK_MONOTONIC), its program counter at ``pc``."""

    tid: int
    time_ns: int
    pc: int


class SyscallStop(Stop, gc=False):
    """At the entry or exit of a system call; ``arch`` is the AUDIT_ARCH value, ``args`` are six (entry only).

    ``result`` is the signed return value, ``failed`` whether it is a negated errno (exit only).  ``nr`` is known at an
    exit where the thread is held there and its entry was seen.  ``filtered``: a seccomp filter stopped it, after the
    stop at the entry where there is one.
    """

    entering: bool
    arch: int
    sp: int
    nr: int = -1
    args: tuple[int, ...] = ()
    result: int = 0
    failed: bool = False
    filtered: bool = False
