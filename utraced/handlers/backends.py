"""What records a trace for which ``auto`` was asked: the kernel where it can, by programs or by events, else ptrace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utraced.errors import UtracedError

if TYPE_CHECKING:
    from utraced.api.trace import Start
    from utraced.kernel.recorder_requests import Backend

    from .session import Session

ASKED = "it was asked for"
RECORDING: tuple[Backend, ...] = ("kernel", "perf")
"""Those that stop nothing, the better one first."""

DIFFERENCES: dict[Backend, str] = {
    "kernel": "nothing stops, with overflow block only while the client is far behind; signals that are ignored or end"
    " their process are told as they are sent, group-stops are not; what only pointers in memory lead to may be told as"
    " pointers where all calls are traced",
    "perf": "nothing stops, with overflow block only while the client is far behind, and what comes faster than records"
    " are made of it is lost; what arguments point to is not told, nor are stacks, group-stops, signals that are"
    " ignored or end their process, and senders of signals; a process falls silent as it executes a program with"
    " privileges",
}
"""From what ptrace tells; ``trace.start`` says all of it."""


def against_recording(params: Start, pid: int, session: Session) -> str | None:
    """Return why nothing but ptrace is to trace the process ``pid``, None where nothing speaks for that."""
    if params.overflow == "block":
        return "with overflow block nothing is to be lost, which only ptrace promises"
    process = session.tracer.core.processes.get(pid)
    if process is not None and any(engine.owner is session for engine in process.engines):
        # What the kernel has recorded comes by a timer, and is not what a client has made of a call.
        return "this session's engines stop the process anyhow, and what they and the trace are told has one order"
    return None


def against(backend: Backend, params: Start, session: Session) -> str | None:
    """Return why a backend is not to be asked, None where it may do."""
    if backend == "perf" and (missing := lacking_of_perf(params)) is not None:
        return f"the backend perf cannot tell {missing}"
    missing = session.recorder.unavailable(backend)
    return None if missing is None else f"the backend {backend} is not available: {missing}"


def lacking_of_perf(params: Start) -> str | None:
    """Return what is asked for that events do not tell, None where they tell all."""
    if params.stacks:
        return "stacks"
    return None if params.path_prefix is None else "which path is named"


def refused(backend: Backend, error: UtracedError) -> str:
    """Return the reason where a backend, or the attacher, would not record after all."""
    return f"the backend {backend} has refused: {error.message}"
