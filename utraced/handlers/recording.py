"""Traces that the kernel records: what a handler asks of the part of the worker that reads records."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from utraced.api import trace as api
from utraced.api.events import Event
from utraced.kernel.calls_in_progress import calls_in_progress
from utraced.kernel.memory import TargetMemory
from utraced.kernel.recorder_requests import MAX_NUMBERS, RING_SIZES, Backend, Record
from utraced.linux.pidfd import open_pidfd
from utraced.observing.forwarded import Forwarded
from utraced.observing.paths import path_arguments, prefix_of
from utraced.observing.recorded import Recorded
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace
from utraced.syscalls.abi import ABIS
from utraced.syscalls.calls import signatures

from .braking import Brake
from .deadlocks import check_deadlock

if TYPE_CHECKING:
    from .context import Context
    from .target import Target


def request_of(params: api.Start, selection: Selection, backend: Backend = "kernel") -> Record:
    """Return what the attacher is asked for."""
    prefix = prefix_of(params.path_prefix)
    # The execve that may be waited for has a record of its own, whatever is wanted.
    wide, others = _numbers(selection, "x86_64")
    narrow, _ = _numbers(selection, "i386")
    if prefix:
        wide, narrow, others = _with_paths("x86_64", wide), _with_paths("i386", narrow), False
    # Where as little as can be is to be lost, more of it may wait for us: a busy machine may not let us run for long.
    ring_size = RING_SIZES[1] if params.overflow == "block" else RING_SIZES[1] // 4
    return Record(
        pidfd=0,
        by=backend,
        x86_64=wide,
        i386=narrow,
        others=others,
        strings=params.strings,
        follow=params.follow,
        stacks=params.stacks,
        ring_size=ring_size,
        failed_only=params.failed_only,
        path_prefix=prefix,
    )


def _with_paths(name: str, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return those calls that have a path among their arguments."""
    return tuple(number for number in numbers if path_arguments(ABIS[name], number))


def _numbers(selection: Selection, name: str) -> tuple[tuple[int, ...], bool]:
    """Return the numbers of an ABI that are wanted, and whether those without a name are."""
    abi = ABIS[name]
    wanted = tuple(nr for nr in abi.names if nr < MAX_NUMBERS - 1 and selection.wants(abi, nr))
    return wanted, selection.wants(abi, MAX_NUMBERS - 1)


async def start(params: api.Start, target: Target, trace: Trace, context: Context, backend: Backend) -> None:
    """Have the kernel record a trace; raises UtracedError, and then nothing of it is left."""
    session = context.session
    check_deadlock(target.pid, session)

    presuming = not params.from_exec and not params.path_prefix

    def meanwhile() -> None:
        if params.deliver == "events" or presuming:
            signatures("x86_64")  # loaded while the attacher works, before anything waits for it

    def tell(event: Event) -> None:
        session.tell(event)
        if recorded.ended:
            session.retire_recording(recorded)

    trace.id = session.new_id()
    made = Recorded if params.deliver == "events" else Forwarded
    recorded = made(trace, target.pid, tell)
    pidfd = open_pidfd(target.pid)
    # Known before the first record is: what it tells is counted.
    session.traces[trace.id] = trace
    session.recordings[trace.id] = recorded
    try:
        request = request_of(params, trace.selection, backend)
        brake = Brake(session, trace) if trace.block else None
        await session.recorder.begin(request, pidfd, recorded, brake=brake, meanwhile=meanwhile)
    except BaseException:
        del session.traces[trace.id], session.recordings[trace.id]
        raise
    finally:
        os.close(pidfd)
    if presuming:
        _presume(recorded, target.pid)


def _presume(recorded: Recorded, pid: int) -> None:
    """Take the calls that threads were in when their recording began."""
    memory = TargetMemory(pid)
    try:
        for stop in calls_in_progress(pid):
            recorded.presume(stop, memory)
    finally:
        memory.close()
