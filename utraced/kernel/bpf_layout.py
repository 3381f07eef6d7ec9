"""What the programs of a trace and those who load them agree on: maps, plans, counters, offsets, settings."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from utraced.arch import x86_64 as arch
from utraced.errors import Unsupported
from utraced.syscalls.captures import BITS, MOST, Capture, Captures, paths_of

from .btf import BadBtf, Btf

RECORD = 96
"""Where a record begins in the scratch space; before it stand the arguments and the result, for captures."""
MEMBER, MEMBER_SINCE = 80, 88
"""There too: the process that was last found to be in the trace on this CPU, and how many had left it then."""

PLANS = 1024
"""Plans of 512 calls of 64-bit programs, then of as many of 32-bit ones."""
PLAN_WANTED = 1
PLAN_PATHS = 4
"""Which arguments are paths, a bit each."""
_PLAN_HEAD = struct.Struct("<II")
_OPERATION = struct.Struct("<BBBBIII")
OPERATION_SIZE = _OPERATION.size
PLAN_ENTERED = _PLAN_HEAD.size
PLAN_LEFT = PLAN_ENTERED + MOST * OPERATION_SIZE
PLAN_STRINGS = PLAN_LEFT + MOST * OPERATION_SIZE
PLAN_SIZE = PLAN_STRINGS + 8
STRING, BYTES = 1, 2
ON_FAILURE = 1
PROGRAM_ARGUMENTS, BUFFERS_ENTERED, BUFFERS_LEFT, MESSAGE_ENTERED, MESSAGE_LEFT, INDIRECT, MESSAGES = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
)

PROCESS = struct.Struct("<QQ")
"""A value of the map of processes: when its leader started, in nanoseconds of CLOCK_BOOTTIME, from and before."""
FAULTED_SIZE = 8
MARK_SIZE = 16
"""A value of the map of calls: since when one lasts, and what has been told of it."""

COUNTERS_SIZE = 72
COUNTER_PROCESSES, COUNTER_DROPPED, COUNTER_ENTRIES, COUNTER_EXITS, COUNTER_OTHERS = 0, 8, 16, 24, 32
COUNTER_FAULTS, COUNTER_UNFOLLOWED, COUNTER_LEFT, COUNTER_SILENCED = 40, 48, 56, 64
COUNTERS = struct.Struct("<q6Q8x?7x")

_POINTERS_OF_ARGUMENTS = 512
_POINTERS_OF_ENVIRONMENT = 4096


class Guard(NamedTuple):
    """Whose processes may be told of: what all of uids and gids must be, and the most capabilities permitted."""

    uid: int
    gid: int
    capabilities: int
    user_namespace: int


class Needs(NamedTuple):
    """What the plans of a trace have in them: programs without the rest are verified sooner.

    ``entered`` and ``left``: the kinds of their operations, by place.  ``special``: what else is copied.
    ``paths``: which arguments are.
    """

    entered: tuple[frozenset[int], ...]
    left: tuple[frozenset[int], ...]
    special: frozenset[int]
    paths: frozenset[int] = frozenset()


class Settings(NamedTuple):
    """What is asked of a trace; ``strings`` is in bytes.

    ``few``: the numbers of its calls, where they are few.  ``by_call``: its programs run at those alone.
    ``failed_only``: only calls that fail; ``prefix``: only those that name a path that begins so.
    ``loops``: as in ``Offsets``.
    """

    strings: int
    follow: bool
    needs: Needs
    few: tuple[int, ...] = ()
    by_call: bool = False
    stacks: bool = False
    failed_only: bool = False
    prefix: bytes = b""
    loops: bool = False


class Maps(NamedTuple):
    """The maps of a trace: their descriptors, or their indexes in its programs."""

    processes: int
    plans: int
    scratch: int
    counters: int
    faulted: int
    ring: int
    narrow: int
    calls: int


MAPS = Maps(*range(len(Maps._fields)))
"""The indexes."""


class Offsets(NamedTuple):
    """What the programs need of this kernel: where members are, and the numbers of types.

    ``loops``: whether the verifier knows loops without a bound.
    """

    tgid: int
    pid: int
    group_leader: int
    start_boottime: int
    real_cred: int
    mm: int
    signal: int
    exit_code: int
    status: int
    mm_flags: int
    live: int
    filename: int
    cap_permitted: int
    user_ns: int
    inum: int
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    registers: tuple[tuple[str, int], ...]
    task: int
    cast: int | None
    tracepoints: tuple[tuple[str, int], ...]
    loops: bool = False

    def register(self, name: str) -> int:
        """Return where a register is in pt_regs."""
        return dict(self.registers)[name]

    def tracepoint(self, name: str) -> int:
        """Return the number of a tracepoint's type."""
        return dict(self.tracepoints)[name]


TRACEPOINTS = (
    "sched_process_exit",
    "sched_process_fork",
    "sched_process_exec",
    "signal_generate",
    "signal_deliver",
    "sys_exit",
    "sys_enter",
)
"""In the order in which programs are attached to them."""
_OF_TASK = ("tgid", "pid", "group_leader", "start_boottime", "real_cred", "mm", "signal", "exit_code")


def offsets_of(btf: Btf) -> Offsets:
    """Return the offsets in the kernel that ``btf`` describes; raises Unsupported where a member is missing."""
    try:
        task = [btf.offset("task_struct", name) for name in _OF_TASK]
        return Offsets(
            **dict(zip(_OF_TASK, task, strict=True)),
            status=btf.offset("task_struct", "thread_info", "status"),
            mm_flags=btf.offset("mm_struct", "flags"),
            live=btf.offset("signal_struct", "live"),
            filename=btf.offset("linux_binprm", "filename"),
            cap_permitted=btf.offset("cred", "cap_permitted"),
            user_ns=btf.offset("cred", "user_ns"),
            inum=btf.offset("user_namespace", "ns", "inum"),
            uids=tuple(btf.offset("cred", name) for name in ("uid", "euid", "suid", "fsuid")),
            gids=tuple(btf.offset("cred", name) for name in ("gid", "egid", "sgid", "fsgid")),
            registers=tuple((name, btf.offset("pt_regs", name)) for name in arch.PT_REGISTERS),
            task=btf.type_id("task_struct", "structure"),
            cast=None,
            loops=False,
            tracepoints=tuple((name, btf.type_id(f"btf_trace_{name}")) for name in TRACEPOINTS),
        )
    except BadBtf as error:
        raise Unsupported(
            f"this kernel's types are not as the backend kernel needs them: {error}", feature="backend.kernel"
        ) from error


def cast_of(btf: Btf) -> int | None:
    """Return the number of the function that makes a plain pointer of a trusted one, None before Linux 6.2.

    It is far behind the other types.
    """
    try:
        return btf.type_id("bpf_rdonly_cast", "function")
    except BadBtf:
        return None


def needs(plans: Iterable[bytes]) -> Needs:
    """Return what these plans have in them."""
    entered: list[set[int]] = []
    left: list[set[int]] = []
    special: set[int] = set()
    paths: set[int] = set()
    for one in set(plans):
        for kinds, start in ((entered, PLAN_ENTERED), (left, PLAN_LEFT)):
            for index in range(MOST):
                kind = one[start + index * OPERATION_SIZE]
                if not kind:
                    break
                if index == len(kinds):
                    kinds.append(set())
                kinds[index].add(kind)
        special.add(one[PLAN_STRINGS])
        paths |= {index for index in range(6) if one[PLAN_PATHS] & 1 << index}
    return Needs(
        tuple(frozenset(kinds) for kinds in entered),
        tuple(frozenset(kinds) for kinds in left),
        frozenset(special - {0}),
        frozenset(paths),
    )


def plan(captures: Captures, *, strings: int, largest: int) -> bytes:
    """Return the plan of a call that is wanted; ``strings`` is the limit on them, ``largest`` on any capture."""
    special: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0, 0)
    entered: list[bytes] = []
    left: list[bytes] = []
    for target, others, kind, message in (
        (entered, captures.entered, BUFFERS_ENTERED, MESSAGE_ENTERED),
        (left, captures.left, BUFFERS_LEFT, MESSAGE_LEFT),
    ):
        for one in others:
            if one.what == "strings":
                special = (PROGRAM_ARGUMENTS, one.argument, 0, 0, 0, 0, 0, 0)
                one = one._replace(what="bytes", unit=_POINTERS_OF_ARGUMENTS, limited=False)  # noqa: PLW2901
            elif one.what == "pointers":
                one = one._replace(what="bytes", unit=_POINTERS_OF_ENVIRONMENT)  # noqa: PLW2901
            elif one.what == "buffers":
                special = (kind, one.argument, one.counter, 0, 0, 0, 0, 0)
            elif one.what == "message":
                special = (message, one.argument, 0, 0, 0, 0, 0, 0)
            elif one.what == "messages":
                special = (MESSAGES, one.argument, one.counter, 0, 0, 0, 0, 0)
            elif one.what == "indirect":
                special = _indirect(one, special, leaving=target is left)
                continue
            target.append(_operation(one, strings=strings, largest=largest))
    operations = [*entered, *[bytes(OPERATION_SIZE)] * (MOST - len(entered))]
    operations += [*left, *[bytes(OPERATION_SIZE)] * (MOST - len(left))]
    return (
        _PLAN_HEAD.pack(PLAN_WANTED, sum(1 << index for index in paths_of(captures)))
        + b"".join(operations)
        + bytes(special)
    )


def _indirect(one: Capture, special: tuple[int, ...], *, leaving: bool) -> tuple[int, ...]:
    """Return ``special`` with what one pointer more leads to: one at the entry; two at the return, of one length."""
    entered, left, second = special[3:5], special[5:7], special[7]
    if not leaving:
        entered = (one.offset, one.most)
    elif left == (0, 0):
        left = (one.offset, one.most)
    else:
        second = one.offset
    return INDIRECT, one.argument, one.unit, *entered, *left, second


def _operation(one: Capture, *, strings: int, largest: int) -> bytes:
    flags = ON_FAILURE if one.failing else 0
    if one.what == "string":
        # One byte more than is shown tells whether the string goes on, and the last is the NUL that the kernel adds.
        most = (strings if one.limited else one.most) + 2
        return _OPERATION.pack(STRING, one.argument, 0, flags, 0, min(most, largest), one.offset)
    most = min(one.most, max(one.unit, 1) * strings) if one.limited else one.most
    if one.unit == BITS:
        most = one.most
    return _OPERATION.pack(BYTES, one.argument, one.counter, flags, one.unit, min(most, largest), one.offset)
