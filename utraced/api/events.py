"""Events: one struct per kind (PROTOCOL.md §5), the ``params`` of the notification ``event``.

``omit_defaults`` leaves out what does not apply.  Structs are mutable: ``seq`` is given when an event is queued.
"""

from __future__ import annotations

import builtins
from typing import Literal

from msgspec import Struct

from utraced.model import HexText, Status


class Captured(Struct, omit_defaults=True):
    """Registers of a stopped thread, by their names in <sys/user.h>: ``general``, user_regs_struct."""

    general: dict[str, HexText]


class Event(Struct, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What all events have.

    ``seq``: counts this session's events without gaps.  ``time_ns``: CLOCK_MONOTONIC.  ``pid``, ``tid``: the thread.
    ``engine``, ``trace``: whose event it is.  ``held``: the engine that asked for it now holds the thread.
    ``registers``: of a stopped thread, where the engine captures them, as ``registers.read`` tells them.
    """

    seq: int = 0
    time_ns: int = 0
    pid: int = 0
    tid: int = 0
    engine: int | None = None
    trace: int | None = None
    held: bool = False
    registers: Captured | None = None


class Stop(Event, kw_only=True, tag="stop"):
    """A thread stopped to be held.

    ``why``: it was ``requested``, or the engine holds what it is ``attached`` to, or after an ``exec``.  ``pc``: the
    address of the next instruction.
    """

    why: Literal["requested", "attached", "exec"]
    pc: HexText | None = None


class Clone(Event, kw_only=True, tag="clone"):
    """A thread made another thread or process.

    ``how``: which it is.  ``child_pid``, ``child_tid``: of the new thread.  ``child_engine``: the engine that follows
    the new process.  ``untraced``: why the new process runs on untraced though the engine or trace follows.
    """

    how: Literal["thread", "fork", "vfork"]
    child_pid: int
    child_tid: int
    child_engine: int | None = None
    untraced: Literal["limit_exceeded"] | None = None


class VforkDone(Event, kw_only=True, tag="vfork_done"):
    """A vfork parent goes on: its child, ``child_pid``, has exec'd or ended."""

    child_pid: int


class Exec(Event, kw_only=True, tag="exec"):
    """An execve succeeded; the new program has not run yet.

    ``path``: the new program, exactly in ``path_bytes`` where the text is not.  ``former_tid``: the thread that made
    the call, and is ``pid`` from now.
    """

    path: str | None = None
    path_bytes: bytes | None = None
    former_tid: int


class Exit(Event, kw_only=True, tag="exit"):
    """The thread is about to end, with ``status``; its registers and memory can still be read."""

    status: Status


class Death(Event, kw_only=True, tag="death"):
    """The thread is gone.

    ``last``: so is the process.  ``status``: how it ended, absent where an exec swallowed it.  ``successor_tid``:
    then, the thread that made the exec.
    """

    status: Status | None = None
    last: bool = False
    successor_tid: int | None = None


class Reap(Event, kw_only=True, tag="reap"):
    """The process's parent has taken note of its end: its pid is free.  Nothing but ``detached`` follows."""


class Library(Event, kw_only=True, tag="library"):
    """A part of an ELF file that can be executed was mapped, or the file's mapping was taken away.

    ``path``: the file, exactly in ``path_bytes`` where the text is not.  ``base``: where its beginning is mapped.
    ``loaded``: which of both.  What was mapped before, ``process.maps`` tells.
    """

    path: str
    path_bytes: bytes | None = None
    base: HexText
    loaded: bool


class Signal(Event, kw_only=True, tag="signal"):
    """A signal is about to be delivered.

    ``signal``: its name.  ``code``: why it was sent, by the name of its si_code.  ``sender_pid``, ``sender_uid``: who
    sent it.  ``address``: of a fault.  ``info``: the raw siginfo_t (sigaction(2)), 128 bytes.
    """

    signal: str
    code: str | None = None
    sender_pid: int | None = None
    sender_uid: int | None = None
    address: HexText | None = None
    info: bytes | None = None


class JobControl(Event, kw_only=True, tag="job_control"):
    """The thread takes part in a group-stop, or goes on after it.

    ``state``: which of both.  ``signal``: the one that stopped it.
    """

    state: Literal["stopped", "continued"]
    signal: str | None = None


class Fragment(Struct, omit_defaults=True):
    """Memory that an argument points to.

    ``address``: its first byte.  ``data``: as it stood when the call was entered.  ``returned``: as it stood when the
    call came back.
    """

    address: HexText
    data: bytes
    returned: bool = False


class Text(Struct, omit_defaults=True):
    """A string or buffer argument; ``bytes`` where ``text`` is not exact; ``truncated``: more follows in memory."""

    text: str
    bytes: builtins.bytes | None = None
    truncated: bool = False


class _SystemCall(Event, kw_only=True):
    """A system call.

    ``arch``: x86_64, i386 or x32.  ``nr``, ``name``: its number there, and its name.  ``args``: the six raw argument
    registers.  ``pc``, ``sp``: the instruction and stack pointers.
    """

    arch: str
    nr: int
    name: str
    args: tuple[HexText, HexText, HexText, HexText, HexText, HexText]
    pc: HexText
    sp: HexText


class SyscallEntry(_SystemCall, kw_only=True, tag="syscall_entry"):
    """A thread enters a system call; of a trace, only with ``entries``, before its ``syscall``.

    ``strings``, ``memory``, ``stack``: of a trace, as in ``syscall``.
    """

    strings: dict[str, Text] | None = None
    memory: list[Fragment] | None = None
    stack: tuple[HexText, ...] | None = None


class SyscallExit(_SystemCall, kw_only=True, tag="syscall_exit", rename={"result": "return"}):
    """A system call returns.

    ``return``: the raw result as a signed number.  ``errno``: its name where the call failed.
    """

    result: int | None = None
    errno: str | None = None


class Syscall(_SystemCall, kw_only=True, tag="syscall", rename={"result": "return"}):
    """A whole system call, of a trace.

    ``return``: the raw result as a signed number.  ``errno``: its name where the call failed.  ``start_ns``: the time
    it was entered.  ``duration_ns``: how long it took.  ``strings``: string arguments by their position.  ``memory``:
    what the other pointers led to, as much as decoding needs.  ``stack``: with ``stacks``, the addresses that it was
    called from, the innermost first, as far as frame pointers led.  ``unfinished``: it never returned, or the trace
    ended first.
    """

    result: int | None = None
    errno: str | None = None
    start_ns: int
    duration_ns: int = 0
    strings: dict[str, Text] | None = None
    memory: list[Fragment] | None = None
    stack: tuple[HexText, ...] | None = None
    unfinished: bool = False


class Step(Event, kw_only=True, tag="step"):
    """A step that was asked for is done; the thread is held.  ``pc``: the address of the next instruction."""

    pc: HexText


class Resumed(Event, kw_only=True, tag="resumed"):
    """The last engine that held the thread let go: it runs."""


class Sync(Event, kw_only=True, tag="sync"):
    """Stands in the stream where ``session.sync`` was called with this ``token``."""

    token: str | int | None = None


class Lost(Event, kw_only=True, tag="lost"):
    """Exactly ``count`` observations would have stood here, but the client read too slowly."""

    count: int


class Records(Event, kw_only=True, tag="records"):
    """What the kernel recorded, of a trace with ``deliver: "raw"``.

    ``data``: ``count`` whole records, laid out as ``format`` says (``x-layouts``).
    """

    data: bytes
    count: int
    format: str


class Detached(Event, kw_only=True, tag="detached"):
    """The engine or trace has ended.

    ``reason``: why.  ``status``: how its process ended, where it has.  ``delivered``, ``lost``: of a trace, how many
    system calls (or ``records``) it told of, and how many were lost; a trace that is told without them goes on, and
    only process ``pid`` is no longer in it.
    """

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
    | Reap
    | Library
    | Signal
    | JobControl
    | SyscallEntry
    | SyscallExit
    | Syscall
    | Step
    | Resumed
    | Sync
    | Lost
    | Records
    | Detached
)
"""Decode ``params`` of an ``event`` as this: ``kind`` tells which."""
