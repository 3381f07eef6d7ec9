"""Who must not be traced, lest nobody is left to go on: the daemon, the client itself, and who traces the client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from utraced.errors import NoSuchProcess, PermissionDenied
from utraced.kernel.proc import Process

if TYPE_CHECKING:
    from .session import Session


def check_deadlock(pid: int, session: Session) -> None:
    """Raise PermissionDenied where to stop process ``pid`` could stop, in the end, whoever is to let it go on."""
    if pid == session.peer.pid:
        raise PermissionDenied(
            f"process {pid} is the client itself",
            reason="would_deadlock",
            hint="A process cannot wait for its own stops: let another process trace it.",
        )
    if pid in session.kin or pid == os.getpid():
        raise PermissionDenied(
            f"process {pid} is of the tracing daemon itself",
            reason="would_deadlock",
            hint="Trace the daemon from outside, with strace or gdb.",
        )
    if pid in _tracers(session):
        raise PermissionDenied(
            f"process {pid} traces you, or one who does: stopped by you, it could not let you go on",
            reason="would_deadlock",
            hint="Let it detach first, or ask from a process that it does not trace.",
        )


def _tracers(session: Session) -> set[int]:
    """Return who traces the client, who traces those, and so on: by this worker, or by ptrace alone."""
    found: set[int] = set()
    waiting = [session.peer.pid]
    while waiting:
        for pid in _tracers_of(waiting.pop(), session):
            if pid not in found:
                found.add(pid)
                waiting.append(pid)
    return found


def _tracers_of(pid: int, session: Session) -> set[int]:
    try:
        with Process(pid) as process:
            tracer = process.status().tracer
    except (NoSuchProcess, PermissionError):  # gone, or hidden (hidepid): then it is none that we could trace
        return set()
    if tracer != os.getpid():
        return {tracer} - {0}
    traced = session.tracer.core.processes.get(pid)
    owners = {engine.owner.session for engine in traced.engines} if traced is not None else set()
    return {other.peer.pid for number, other in session.fellows.items() if number in owners}
