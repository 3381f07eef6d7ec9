"""Looking at processes: no engine is needed, nothing stops."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from utraced.errors import Cancelled, DeniedReason, NoSuchProcess, PermissionDenied, TimedOut
from utraced.model import Hex, Index, Pid, Value
from utraced.rpc.method import Method, TargetMethod

State = Literal[
    "running", "sleeping", "disk_sleep", "stopped", "tracing_stop", "zombie", "dead", "parked", "idle", "unknown"
]
"""The kernel's letters R, S, D, T, t, Z, X, P, I as words."""

Limit = Annotated[int, Meta(ge=1, le=1_000_000)]
"""The most members a page may have; it has fewer where they would not fit the packet."""


class Tracer(Value, frozen=True):
    """The process that traces another by ptrace.  ``pid``: its pid.  ``comm``: its name, absent where hidden."""

    pid: int
    comm: str | None = None


class Process(Value, frozen=True):
    """One process of a list.

    ``pid``, ``state``: its pid and what it does.  ``parent``: its pid, 0 outside this pid namespace.  ``start_time``:
    in clock ticks after boot, to compare only.  ``uid``: the real user id.  ``command``: the command line's first 4,096
    bytes, joined by spaces, or the name in brackets where there is none; ``command_bytes`` where the text is not exact.
    ``traced_by``: absent where nobody traces it.
    """

    pid: int
    parent: int
    start_time: int
    uid: int
    state: State
    command: str
    command_bytes: bytes | None = None
    traced_by: Tracer | None = None


class Processes(Value, frozen=True):
    """Processes in order of pid: ``processes``; ``next``, where there are more, is the ``cursor`` of the next page."""

    processes: tuple[Process, ...]
    next: int | None = None


class List(Method[Processes], frozen=True):
    """List the processes this session may trace, as far as users, groups, capabilities and dumpability go.

    ``root``: only that process and those that descend from it.  ``cursor``: go on with the page that a former reply
    named in ``next``; processes that come and go meanwhile are shown or not, but none twice.  ``limit``: at most so
    many; fewer where they would not fit the packet.
    """

    method = "process.list"
    errors = (NoSuchProcess, Cancelled, TimedOut)

    root: Pid | None = None
    cursor: Pid | None = None
    limit: Limit | None = None


class Ids(Value, frozen=True):
    """User ids or group ids (credentials(7)).

    ``real``, ``effective``, ``saved``: access to the process goes by these.  ``file_system``: access to files.
    """

    real: int
    effective: int
    saved: int
    file_system: int


class Memory(Value, frozen=True):
    """Memory of a process in bytes, by the kernel's own counts (``Vm…`` and ``Rss…`` of proc_pid_status(5)).

    ``virtual``, ``virtual_peak``: address space, now and at most.  ``resident``: in memory now, the sum of
    ``anonymous``, ``file`` and ``shared``.  ``resident_peak``: in memory at most.  ``locked``: cannot be paged out.
    ``data``, ``stack``, ``text``, ``libraries``: private writable, stack, the program's and the libraries' code.
    ``page_tables``: the kernel's own.  ``swap``: paged out.
    """

    virtual: int | None = None
    virtual_peak: int | None = None
    resident: int | None = None
    resident_peak: int | None = None
    anonymous: int | None = None
    file: int | None = None
    shared: int | None = None
    locked: int | None = None
    data: int | None = None
    stack: int | None = None
    text: int | None = None
    libraries: int | None = None
    page_tables: int | None = None
    swap: int | None = None


class Withheld(Value, frozen=True):
    """Why exe, cwd, root and namespaces are absent: ``reason`` and ``hint`` as in permission_denied."""

    reason: DeniedReason
    hint: str


class Details(Value, frozen=True, kw_only=True):
    """What is known of a process.

    ``pid``, ``state``: its pid and what it does.  ``parent``: its pid, 0 outside this pid namespace.  ``start_time``:
    in clock ticks after boot, to compare only.  ``kernel_thread``: it has no user space.  ``users``, ``groups``,
    ``supplementary_groups``: its user and group ids.  ``no_new_privs``: exec gives it no privilege
    (PR_SET_NO_NEW_PRIVS).  ``name``: what it calls itself, at most 15 bytes (comm).  ``argv``: its arguments, as they
    stand in its memory; ``argv_truncated`` where not all fit the packet.  ``exe``: the program's file; ``exe_deleted``
    where it has been removed or replaced.  ``cwd``, ``root``: its directories; like exe they are paths as it sees them,
    and absent for kernel threads and zombies.  ``…_bytes``: exact, where the text is not; ``argv_bytes`` then has all
    arguments.  ``process_group``, ``process_session``: of its terminal's job control.  ``threads``: how many there are.
    ``memory``: absent where there is none.  ``namespaces``: inode numbers by kind (``"pid"``, ``"mnt"``, …).
    ``tracer``: absent where nobody traces it.  ``seccomp``: 0 off, 1 strict, 2 filters.  ``withheld``: absent where
    nothing is.
    """

    pid: int
    parent: int
    start_time: int
    name: str
    name_bytes: bytes | None = None
    state: State
    kernel_thread: bool = False
    argv: tuple[str, ...]
    argv_bytes: tuple[bytes, ...] | None = None
    argv_truncated: bool = False
    exe: str | None = None
    exe_bytes: bytes | None = None
    exe_deleted: bool = False
    cwd: str | None = None
    cwd_bytes: bytes | None = None
    root: str | None = None
    root_bytes: bytes | None = None
    users: Ids
    groups: Ids
    supplementary_groups: tuple[int, ...]
    process_group: int
    process_session: int
    threads: int
    memory: Memory | None = None
    namespaces: dict[str, Hex] | None = None
    tracer: Tracer | None = None
    no_new_privs: bool = False
    seccomp: int
    withheld: Withheld | None = None


class Info(TargetMethod[Details], frozen=True):
    """Tell what is known of one process; of those you may not trace, what everybody may know."""

    method = "process.info"
    errors = (NoSuchProcess, PermissionDenied, Cancelled, TimedOut)


class Map(Value, frozen=True):
    """One mapping, from ``start`` up to but without ``end``.

    ``perms``: read, write, execute, and private or shared: ``"r-xp"``.  ``offset``: of ``start`` in the file, in bytes.
    ``dev``: major and minor number of its device in hexadecimal, ``"fe:00"``; ``inode``: its number there; both 0
    where there is no file.  ``path``: absent for anonymous memory; a name in brackets (``"[stack]"``) is no file.
    ``deleted``: the file has no name any more, and ``path`` is its last.
    """

    start: Hex
    end: Hex
    perms: str
    offset: Hex
    dev: str
    inode: Hex
    path: str | None = None
    path_bytes: bytes | None = None
    deleted: bool = False


class Mapped(Value, frozen=True):
    """Mappings in order of address: ``maps``, or ``fd``, a file of ``size`` bytes with ``count`` of them.

    ``next``, where there are more, is the ``cursor`` of the next page.
    """

    maps: tuple[Map, ...] | None = None
    fd: Index | None = None
    size: int | None = None
    count: int | None = None
    next: Hex | None = None


class Maps(TargetMethod[Mapped], frozen=True):
    """List the memory mappings of a process.

    ``cursor``: only from this address on.  ``limit``: at most so many; fewer in a list where they would not fit the
    packet.  ``as``: ``"list"``, or ``"fd"`` for a sealed memory file of all of them: a 64-byte header, 64-byte
    records, a string table, little-endian, as the layout ``maps`` says.
    """

    method = "process.maps"
    errors = (NoSuchProcess, PermissionDenied, Cancelled, TimedOut)

    cursor: Hex | None = None
    limit: Limit | None = None
    form: Literal["list", "fd"] = field(default="list", name="as")
