"""Engines: a session's attachments to processes (utrace's model)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from utraced.errors import Cancelled, Gone, NoSuchObject, NoSuchProcess, PermissionDenied
from utraced.model import Empty, HexText, Holder, Pid, Status, ThreadState, ThreadStatus, Value
from utraced.rpc.method import Method, TargetMethod

EventName = Literal[
    "clone",
    "death",
    "exec",
    "exit",
    "job_control",
    "library",
    "reap",
    "signal",
    "syscall_entry",
    "syscall_exit",
    "vfork_done",
]
Response = Literal["report", "hold"]
EventMask = dict[EventName, Response] | tuple[EventName, ...]
"""``{"exec": "hold"}``, or a list of which all are reported."""
Captures = Annotated[tuple[Literal["registers"], ...], Meta(max_length=1)]
"""What events of a stopped thread carry besides: its ``registers``."""

EngineId = Annotated[int, Meta(ge=1)]
CallName = Annotated[str, Meta(min_length=1, max_length=64)] | Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
CallSet = Literal["all"] | Annotated[tuple[CallName, ...], Meta(max_length=1000)]
"""Names, numbers and classes (``"%file"``), or ``"all"``."""


class CallFilter(Value, frozen=True, forbid_unknown_fields=True):
    """A change of one direction's filter.

    ``enabled``: the master switch, which keeps the set.  ``set``: replace the set.  ``add``, ``remove``: change it,
    after it was replaced.
    """

    enabled: bool | None = None
    set: CallSet | None = None
    add: CallSet | None = None
    remove: CallSet | None = None


class Attached(Value, frozen=True):
    """The new engine, and the process it is attached to.

    ``engine``: its id.  ``pid``, ``start_time``: the process, and when it started, in clock ticks after boot.
    ``threads``: as they stand now.
    """

    engine: int
    pid: int
    start_time: int
    threads: tuple[ThreadStatus, ...]


class Attach(TargetMethod[Attached], frozen=True):
    """Attach a new engine to a process.

    ``events``: kinds of events, each with ``report`` or ``hold``, or a list of kinds to be reported; by default
    exec, clone, exit and death are.  ``capture``: what each event of a stopped thread carries besides.  ``hold``: the
    reply comes when every thread is held or pending.  ``hold_on_exec``: hold before a new program's first instruction.
    ``follow``: each new process gets an engine of its own before its first instruction.

    ``library`` has threads stop at their system calls, as ``syscall_entry`` and ``syscall_exit`` do.
    """

    method = "engine.attach"
    creates = True
    access = "changes"
    errors = (NoSuchProcess, PermissionDenied, Cancelled)

    events: EventMask | None = None
    capture: Captures = ()
    hold: bool = False
    hold_on_exec: bool = False
    follow: bool = False


class Detach(Method[Empty], frozen=True):
    """End an engine: its holds are released; other engines stay.  ``engine``: the one to end."""

    method = "engine.detach"
    follows = True
    access = "changes"
    errors = (NoSuchObject, Gone)

    engine: EngineId


class SetEvents(Method[Empty], frozen=True):
    """Choose the events of an engine anew.

    ``engine``: of this session.  ``events``: each with ``report`` or ``hold``, or a list of which all are reported.
    ``tid``: for this thread alone; absent, for all, which forgets what was chosen for single ones.  ``capture``: what
    each event of a stopped thread, whichever it is, carries besides; absent, it stays as it is.
    """

    method = "engine.set_events"
    access = "changes"
    errors = (NoSuchObject, Gone, NoSuchProcess)

    engine: EngineId
    events: EventMask
    tid: Pid | None = None
    capture: Captures | None = None


class SetSyscalls(Method[Empty], frozen=True):
    """Choose which system calls ``syscall_entry`` and ``syscall_exit`` tell; at first all, enabled.

    ``engine``: of this session.  ``entry``, ``exit``: changes for each direction; absent, it stays as it is.
    """

    method = "engine.set_syscalls"
    access = "changes"
    errors = (NoSuchObject, Gone)

    engine: EngineId
    entry: CallFilter | None = None
    exit: CallFilter | None = None


class EngineSummary(Value, frozen=True):
    """An engine in a list.

    ``engine``: its id.  ``pid``, ``start_time``: the process, and when it started, in clock ticks after boot.
    """

    engine: int
    pid: int
    start_time: int


class Engines(Value, frozen=True):
    """The engines of this session.  ``engines``: in order of attachment."""

    engines: tuple[EngineSummary, ...]


class List(Method[Engines], frozen=True):
    """List this session's engines."""

    method = "engine.list"


class CallsTold(Value, frozen=True):
    """The system calls told of one direction.

    ``enabled``: the master switch.  ``set``: names, or ``"all"``.  ``excluded``: of all, those that are not told.
    """

    enabled: bool
    set: Literal["all"] | tuple[str, ...]
    excluded: tuple[str, ...] = ()


class Place(Value, frozen=True):
    """Where a thread is stopped.

    ``kind``: that of the event that tells of such a stop, told or not; ``stop`` for one that was asked for.  ``pc``:
    the address of the next instruction.  ``signal``: at ``signal``, the one to be delivered, and at ``job_control``.
    ``nr``, ``name``, ``return``: at a system call.
    """

    kind: str
    pc: HexText
    signal: str | None = None
    nr: int | None = None
    name: str | None = None
    result: int | None = field(default=None, name="return")


class ThreadInfo(Value, frozen=True):
    """A thread as an engine sees it.

    ``tid``, ``state``, ``holders``: as ``thread.stop`` tells them.  ``at``: where it is stopped, whoever holds it.
    ``action``: how this engine has asked it to go on and is still to be told that it did.  ``events``: what was chosen
    for this thread alone.
    """

    tid: int
    state: ThreadState
    holders: tuple[Holder, ...] = ()
    at: Place | None = None
    action: Literal["step", "block_step", "syscall"] | None = None
    events: dict[str, str] | None = None


class EngineInfo(Value, frozen=True):
    """An engine as it stands: what a client needs to find its feet again.

    ``engine``: its id.  ``pid``, ``start_time``: the process, and when it started, in clock ticks after boot.
    ``events``: those it is told, each with ``report`` or ``hold``.  ``capture``, ``hold``, ``hold_on_exec``,
    ``follow``: as it was attached with, or chosen since.  ``entry``, ``exit``: the system calls told.  ``threads``: as
    they stand.  ``status``: how the process ended, where it has, and is still to be reaped.
    """

    engine: int
    pid: int
    start_time: int
    events: dict[str, str]
    hold: bool
    hold_on_exec: bool
    follow: bool
    entry: CallsTold
    exit: CallsTold
    threads: tuple[ThreadInfo, ...]
    capture: tuple[str, ...] = ()
    status: Status | None = None


class Info(Method[EngineInfo], frozen=True):
    """Tell an engine's settings and its threads' states, all at one moment of the stream of events.

    ``engine``: of this session.
    """

    method = "engine.info"
    errors = (NoSuchObject, Gone)

    engine: EngineId
