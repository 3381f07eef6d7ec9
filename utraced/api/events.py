"""Events: one struct per kind (PROTOCOL.md §5), the ``params`` of the notification ``event``.

``omit_defaults`` leaves out what does not apply.  Structs are mutable: ``seq`` is given when an event is queued.
"""

from __future__ import annotations

import builtins
from typing import Literal

from msgspec import Struct

from utraced.model import HexText, Status


class Event(Struct, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What all events have.

    ``seq`` counts this session's events without gaps, ``time_ns`` is CLOCK_MONOTONIC, ``pid`` and ``tid`` name the
    thread; ``engine``, ``trace`` (and later ``probe``, ``profile``) whose event it is.  ``held``: the engine that asked
    for it now holds the thread.
    """

    seq: int = 0
    time_ns: int = 0
    pid: int = 0
    tid: int = 0
    engine: int | None = None
    trace: int | None = None
    held: bool = False


class Stop(Event, kw_only=True, tag="stop"):
    """A thread stopped because it was asked to (``requested``), or held when attached or after an exec."""

    why: Literal["requested", "attached", "exec"]
    pc: HexText | None = None


class Clone(Event, kw_only=True, tag="clone"):
    """A thread made another thread or process; ``child_engine`` follows the new process."""

    how: Literal["thread", "fork", "vfork"]
    child_pid: int
    child_tid: int
    child_engine: int | None = None


class VforkDone(Event, kw_only=True, tag="vfork_done"):
    """A vfork parent goes on: its child has exec'd or ended."""

    child_pid: int


class Exec(Event, kw_only=True, tag="exec"):
    """An execve succeeded; the new program has not run yet.  ``former_tid`` made the call, and is ``pid`` from now."""

    path: str | None = None
    path_bytes: bytes | None = None
    former_tid: int


class Exit(Event, kw_only=True, tag="exit"):
    """The thread is about to end; its registers and memory can still be read."""

    status: Status


class Death(Event, kw_only=True, tag="death"):
    """The thread is gone; ``last``: so is the process.  ``status`` is null where an exec swallowed it."""

    status: Status | None = None
    last: bool = False
    successor_tid: int | None = None


class Signal(Event, kw_only=True, tag="signal"):
    """A signal is about to be delivered.  ``info`` is the raw siginfo_t (sigaction(2)), 128 bytes."""

    signal: str
    code: str | None = None
    sender_pid: int | None = None
    sender_uid: int | None = None
    address: HexText | None = None
    info: bytes | None = None


class JobControl(Event, kw_only=True, tag="job_control"):
    """The thread takes part in a group-stop, or goes on after it."""

    state: Literal["stopped", "continued"]
    signal: str | None = None


class Fragment(Struct, omit_defaults=True):
    """Memory that an argument points to, as it stood when the call was entered or, ``returned``, when it came back."""

    address: HexText
    data: bytes
    returned: bool = False


class Text(Struct, omit_defaults=True):
    """A string or buffer argument; ``bytes`` where ``text`` is not exact; ``truncated``: more follows in memory."""

    text: str
    bytes: builtins.bytes | None = None
    truncated: bool = False


class _SystemCall(Event, kw_only=True):
    """A system call: ``arch`` is x86_64, i386 or x32; ``args`` are the six raw argument registers."""

    arch: str
    nr: int
    name: str
    args: tuple[HexText, HexText, HexText, HexText, HexText, HexText]
    pc: HexText
    sp: HexText


class SyscallEntry(_SystemCall, kw_only=True, tag="syscall_entry"):
    """A thread enters a system call; of a trace, only with ``entries``, before its ``syscall``."""

    strings: dict[str, Text] | None = None
    memory: list[Fragment] | None = None


class SyscallExit(_SystemCall, kw_only=True, tag="syscall_exit", rename={"result": "return"}):
    """A system call returns; ``return`` is the raw result as a signed number, ``errno`` a name where it failed."""

    result: int | None = None
    errno: str | None = None


class Syscall(_SystemCall, kw_only=True, tag="syscall", rename={"result": "return"}):
    """A whole system call, of a trace.

    ``start_ns`` is the time it was entered, ``duration_ns`` how long it took.  ``strings`` has string arguments by
    their position, ``memory`` what the other pointers led to, as much as decoding needs.  ``unfinished``: it never
    returned, or the trace ended first.
    """

    result: int | None = None
    errno: str | None = None
    start_ns: int
    duration_ns: int = 0
    strings: dict[str, Text] | None = None
    memory: list[Fragment] | None = None
    unfinished: bool = False


class Step(Event, kw_only=True, tag="step"):
    """A step that was asked for is done; the thread is held."""

    pc: HexText


class Resumed(Event, kw_only=True, tag="resumed"):
    """The last engine that held the thread let go: it runs."""


class Sync(Event, kw_only=True, tag="sync"):
    """Stands in the stream where ``session.sync`` was called."""

    token: str | int | None = None


class Lost(Event, kw_only=True, tag="lost"):
    """Exactly ``count`` observations would have stood here, but the client read too slowly."""

    count: int


class Detached(Event, kw_only=True, tag="detached"):
    """The engine or trace has ended; of a trace also how many events it ``delivered`` and ``lost``."""

    reason: Literal["client_request", "session_closed", "target_exited", "exec_denied", "policy", "daemon_stopping"]
    status: Status | None = None
    delivered: int | None = None
    lost: int | None = None


AnyEvent = (
    Stop
    | Clone
    | VforkDone
    | Exec
    | Exit
    | Death
    | Signal
    | JobControl
    | SyscallEntry
    | SyscallExit
    | Syscall
    | Step
    | Resumed
    | Sync
    | Lost
    | Detached
)
"""Decode ``params`` of an ``event`` as this: ``kind`` tells which."""
