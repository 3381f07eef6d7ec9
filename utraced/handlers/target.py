"""The process a request names (PROTOCOL.md §3)."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from utraced.errors import InvalidParams, NoSuchProcess
from utraced.handlers.context import Context
from utraced.kernel.denied import explained
from utraced.kernel.proc import Process
from utraced.linux.closing import close_aside
from utraced.linux.pidfd import open_pidfd, pid_of
from utraced.rpc.method import TargetMethod


class Target(NamedTuple):
    """A process: its pid and, as that may be reused, when it started (clock ticks after boot)."""

    pid: int
    start_time: int


def resolve(params: TargetMethod[Any], context: Context) -> Target:
    """Return the process that ``pid`` or ``pidfd`` names; takes the descriptor.  Does not wait.

    Raises InvalidParams unless there is exactly one of both, NoSuchProcess where the process is gone, is none but a
    thread, or did not start at ``start_time``.
    """
    if params.pidfd is not None:
        descriptor = context.descriptors.take(params.pidfd)
        if params.pid is not None:
            close_aside([descriptor])
            raise InvalidParams("pid and pidfd exclude each other", member="pidfd")
        target = _from_pidfd(descriptor)
    elif params.pid is not None:
        os.close(open_pidfd(params.pid))
        target = _from_pid(params.pid)
    else:
        raise InvalidParams("a process is to be named by pid or pidfd", member="pid")
    if params.start_time not in {None, target.start_time}:
        raise NoSuchProcess(f"process {target.pid} has ended, and its pid belongs to another")
    return target


def resolve_any(params: TargetMethod[Any], context: Context) -> Target | None:
    """Return the process as ``resolve`` does, None where none is named; raises InvalidParams for a time of none."""
    if params.pid is not None or params.pidfd is not None:
        return resolve(params, context)
    if params.start_time is not None:
        raise InvalidParams("start_time is of a process: name that by pid or pidfd", member="start_time")
    return None


def _from_pid(pid: int) -> Target:
    """Return the process that has ``pid`` now."""
    with explained(pid), Process(pid) as process:
        return Target(pid, process.stat().start_time)


def _from_pidfd(descriptor: int) -> Target:
    """Return the process of a client's descriptor, and close it."""
    try:
        target = _from_pid(pid_of(descriptor))
        # Not reaped yet, so its pid was nobody else's when we read the start time.
        pid_of(descriptor)
    except ValueError as error:
        raise InvalidParams("the descriptor is no pidfd", member="pidfd") from error
    finally:
        # It may be anything, also something whose close waits.
        close_aside([descriptor])
    os.close(open_pidfd(target.pid))
    return target
