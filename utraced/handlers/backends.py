"""What records a trace for which ``auto`` was asked: the kernel where it can, else ptrace; and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utraced.errors import UtracedError

if TYPE_CHECKING:
    from utraced.api.trace import Start

    from .session import Session

ASKED = "it was asked for"


def against_kernel(params: Start, pid: int, session: Session) -> str | None:
    """Return why the kernel is not to record the process ``pid``, None where nothing speaks against it."""
    if params.overflow == "block":
        return "with overflow block the target is held, which the backend kernel cannot do"
    process = session.tracer.core.processes.get(pid)
    if process is not None and any(engine.owner is session for engine in process.engines):
        # What the kernel has recorded comes by a timer, and is not what a client has made of a call.
        return "this session's engines stop the process anyhow, and what they and the trace are told has one order"
    missing = session.recorder.unavailable()
    return None if missing is None else f"the backend kernel is not available: {missing}"


def refused(error: UtracedError) -> str:
    """Return the reason where the kernel, or its attacher, would not record after all."""
    return f"the backend kernel has refused: {error.message}"
