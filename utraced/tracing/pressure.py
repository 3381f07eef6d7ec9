"""Threads whose restart waits until a slow client has read what they did.

An event that is never lost is always told; where it does not fit its session's queue, the thread stays in its stop, so
that a session's queue grows by no more than one stop of each thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utraced.api import events
from utraced.api.events import Event

if TYPE_CHECKING:
    from .engine import Engine, Owner
    from .process import Tracee

OBSERVATIONS = frozenset({events.Syscall, events.SyscallEntry, events.Signal, events.JobControl, events.Records})
"""The events of a trace that are lost, and counted, where the client reads too slowly."""


class HeldBack:
    """Stopped threads, and the sessions that each waits for."""

    __slots__ = ("_owners",)

    def __init__(self) -> None:
        self._owners: dict[Tracee, set[Owner]] = {}

    def __bool__(self) -> bool:
        return bool(self._owners)

    def __contains__(self, tracee: Tracee) -> bool:
        return tracee in self._owners

    def told(self, engine: Engine, tracee: Tracee, event: Event) -> None:
        """Hold a thread back whose event does not fit and may not be lost."""
        trace = engine.trace
        if trace is not None and not trace.block and type(event) in OBSERVATIONS:
            return
        if engine.owner.congested():
            self._owners.setdefault(tracee, set()).add(engine.owner)

    def drop(self, tracee: Tracee) -> None:
        """Forget a thread."""
        self._owners.pop(tracee, None)

    def relieve(self, owner: Owner) -> list[Tracee]:
        """Return the threads that wait for nobody any more, now that ``owner`` has caught up or is gone."""
        free = []
        for tracee, owners in list(self._owners.items()):
            owners.discard(owner)
            if not owners:
                del self._owners[tracee]
                free.append(tracee)
        return free
