"""The events of a trace whose records come as the kernel wrote them (``deliver: "raw"``).

    from utraced.api import trace
    from utracectl.client import connect
    from utracectl.decoding import RecordsDecoder

    with connect() as client:
        request = trace.Start(pid=4711, deliver="raw")
        decoder = RecordsDecoder(request, client.call(request))
        for event in client.events():
            for told in decoder.take(event):
                print(told)

They are those that the daemon would have told with ``deliver: "events"``: it saves the daemon most of its work.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic_ns

from utraced.api import call_records
from utraced.api.events import AnyEvent, Detached, Event, Records
from utraced.api.trace import Start, Started
from utraced.observing.recorded import Reason, Recorded
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace


class RecordsDecoder:
    """Decodes the records of the trace that was asked for by ``start`` and answered by ``started``.

    ``damaged`` once what came were no records: daemon and client are of two versions.
    """

    def __init__(self, start: Start, started: Started) -> None:
        self.trace = started.trace
        self.damaged = False
        self._told: list[Event] = []
        # What is not wanted was not recorded, but for the execve before which nothing is told.
        self._settings = Trace(
            self,
            Selection(),
            limit=start.strings,
            failed_only=start.failed_only,
            follow=start.follow,
            entries=start.entries,
            stacks=start.stacks,
        )
        self._settings.id = started.trace
        self._recorded: _Decoded | None = None

    def take(self, event: AnyEvent) -> Iterable[Event]:
        """Return the events that ``event`` stands for: itself, unless it is of this trace."""
        if event.trace != self.trace:
            return (event,)
        if type(event) is Records:
            self._decode(event)
        elif type(event) is Detached and self._recorded is not None:
            self._recorded.abandon(event.time_ns)
            self._told.append(event)
        else:
            return (event,)
        return self._taken()

    def overdue(self, before_ns: int | None = None) -> Iterable[Event]:
        """Return the entries of calls that last, of those entered before ``before_ns`` (CLOCK_MONOTONIC; None: all).

        They are told once, and only where the trace was asked for ``entries``.
        """
        if self._recorded is not None:
            self._recorded.overdue(monotonic_ns() if before_ns is None else before_ns)
        return self._taken()

    @property
    def waiting(self) -> bool:
        """Whether there are calls that ``overdue`` may tell."""
        return bool(self._settings.untold)

    def tell(self, event: Event) -> None:
        """Take a decoded event."""
        self._told.append(event)

    def congested(self) -> bool:
        """See ``Audience``: here nothing waits."""
        return False

    def _decode(self, event: Records) -> None:
        if self._recorded is None:
            self._recorded = _Decoded(self._settings, event.pid, self.tell)
        if event.format != call_records.FORMAT:
            self.damaged = True
            return
        try:
            self._recorded.take(event.data, lambda: 0)
        except call_records.BadRecord:
            self.damaged = True

    def _taken(self) -> Iterable[Event]:
        told, self._told = self._told, []
        return told


class _Decoded(Recorded):
    """A recorded trace whose end the daemon tells."""

    def end(self, reason: Reason, time_ns: int) -> None:
        """See ``Recorded.end``."""
        del reason
        self.abandon(time_ns)
