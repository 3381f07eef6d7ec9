"""The part of a worker that reads what the kernel records, as handlers and sessions see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from utraced.errors import Unsupported

if TYPE_CHECKING:
    from utraced.kernel.recorder_requests import Backend, Record
    from utraced.observing.recorded import Reason, Recorded

    from .braking import Brake


class Recorder(Protocol):
    """Records, by way of the attacher; there is one in each worker."""

    def unavailable(self, backend: Backend) -> str | None:
        """Return why a backend cannot record here, None where it may be able to."""
        ...

    async def begin(
        self,
        request: Record,
        pidfd: int,
        recorded: Recorded,
        *,
        brake: Brake | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Start to record, for ``recorded``; raises what the attacher answers.

        ``brake`` holds the processes while too much waits for the client; without one it is lost.  ``meanwhile`` is
        done while that works.
        """
        ...

    async def finish(self, recorded: Recorded, reason: Reason) -> None:
        """Stop, and tell what was recorded until then."""
        ...

    def drop(self, recorded: Recorded) -> None:
        """Stop, and tell nothing more: the session has ended."""
        ...


class NoRecorder:
    """Where no attacher can be had."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def unavailable(self, backend: Backend) -> str | None:
        """See ``Recorder.unavailable``."""
        del backend
        return self._reason

    async def begin(
        self,
        request: Record,
        pidfd: int,
        recorded: Recorded,
        *,
        brake: Brake | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """See ``Recorder.begin``."""
        raise unsupported(self._reason, request.by)

    async def finish(self, recorded: Recorded, reason: Reason) -> None:
        """See ``Recorder.finish``."""

    def drop(self, recorded: Recorded) -> None:
        """See ``Recorder.drop``."""


def unsupported(reason: str, backend: Backend = "kernel") -> Unsupported:
    """Return the error for a trace that asks for a kernel that cannot do it."""
    return Unsupported(
        f"the backend {backend} is not available: {reason}",
        feature=f"backend.{backend}",
        hint="Use backend ptrace, or auto.",
    )


NO_RECORDER = NoRecorder("this daemon has no attacher")
