"""What events of tracepoints write into their rings, as tuples (PERF_RECORD_*, perf_event_open(2)).

The fields of tracepoints are where ``events/SUBSYSTEM/NAME/format`` in tracefs says, and have been since Linux 2.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from .perf_events import SAMPLE_RAW, SAMPLE_TID, SAMPLE_TIME

SAMPLED = SAMPLE_TID | SAMPLE_TIME | SAMPLE_RAW
"""What all events sample; entries of calls REGISTERS too."""
REGISTERS = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 18
"""si, di, sp, ip, r10 (arch/x86/include/uapi/asm/perf_regs.h)."""

Item = tuple[Any, ...]
"""``(pid, tid, time, kind, ...)`` by kind:

ENTER, SIDE_ENTER: number, six arguments, ABI of the registers, and those; EXIT: number, result; DELIVER: signal, errno,
code, handler; EXECED: name, former tid; FORK: pid and tid of the child; ENDED, RENAMED, LOST, LOST_BESIDE: nothing.
"""
ENTER, SIDE_ENTER, EXIT, DELIVER, EXECED, FORK, ENDED, RENAMED, LOST, LOST_BESIDE = range(10)

_COMM, _EXIT_RECORD, _FORK_RECORD, _LOST_RECORD, _SAMPLE = 3, 4, 7, 2, 9
_COMM_EXEC = 1 << 13
"""PERF_RECORD_MISC_COMM_EXEC."""
_record = struct.Struct("<IHH").unpack_from
_type = struct.Struct("<H").unpack_from
_TYPE_AT = 28
_enter = struct.Struct("<IIQ12xq6Q4xQ5Q").unpack_from
_entered_without = struct.Struct("<IIQ12xq6Q4xQ").unpack_from
_exit = struct.Struct("<IIQ12xqq").unpack_from
_deliver = struct.Struct("<IIQ12xiii4xQ").unpack_from
_execed = struct.Struct("<IIQ12xHHii").unpack_from
_task = struct.Struct("<IIIIQ").unpack_from
_trailer = struct.Struct("<IIQ").unpack_from
_TRAILER_SIZE = 16
_RAW_AT = 28
_ENTER_SIZE = 144


class Tracepoints(NamedTuple):
    """The numbers of those that are used."""

    enter: int
    exit: int
    deliver: int
    execed: int


def items(data: bytes, tracepoints: Tracepoints, *, side: bool = False) -> list[Item]:
    """Return what is in ``data``, whole records; ``side``: of the ring beside, where entries are SIDE_ENTER."""
    return next(slices(data, tracepoints, side=side, most=len(data)), [])


def slices(data: bytes, tracepoints: Tracepoints, *, side: bool = False, most: int) -> Iterator[list[Item]]:
    """Give the same in lists, of what is in about ``most`` bytes each."""
    entered = SIDE_ENTER if side else ENTER
    enter, leave, deliver, execed = tracepoints
    found: list[Item] = []
    append = found.append
    at, size, end = 0, len(data), most
    while at < size:
        if at >= end:
            yield found
            found = []
            append = found.append
            end = at + most
        kind, misc, length = _record(data, at)
        if kind == _SAMPLE:
            (tracepoint,) = _type(data, at + _TYPE_AT)
            if tracepoint == enter:
                if length >= _ENTER_SIZE:
                    pid, tid, time, *rest = _enter(data, at + 8)
                    append((pid, tid, time, entered, *rest))
                else:  # of a thread that is no longer any program's (PERF_SAMPLE_REGS_ABI_NONE)
                    pid, tid, time, *rest = _entered_without(data, at + 8)
                    append((pid, tid, time, entered, *rest, 0, 0, 0, 0, 0))
            elif tracepoint == leave:
                pid, tid, time, number, result = _exit(data, at + 8)
                append((pid, tid, time, EXIT, number, result))
            elif tracepoint == deliver:
                pid, tid, time, *rest = _deliver(data, at + 8)
                append((pid, tid, time, DELIVER, *rest))
            elif tracepoint == execed:
                pid, tid, time, offset, count, _, former = _execed(data, at + 8)
                start = at + _RAW_AT + offset
                append((pid, tid, time, EXECED, data[start : start + count].split(b"\0")[0], former))
        elif kind in {_FORK_RECORD, _EXIT_RECORD}:
            pid, parent, tid, parent_tid, time = _task(data, at + 8)
            append((parent, parent_tid, time, FORK, pid, tid) if kind == _FORK_RECORD else (pid, tid, time, ENDED))
        elif kind == _LOST_RECORD or (kind == _COMM and misc & _COMM_EXEC):
            pid, tid, time = _trailer(data, at + length - _TRAILER_SIZE)
            append((pid, tid, time, RENAMED if kind == _COMM else LOST_BESIDE if side else LOST))
        at += length
    if found:
        yield found
