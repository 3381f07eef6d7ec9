"""A recorded trace whose records are passed on as they are, for the client to decode."""

from __future__ import annotations

from collections.abc import Callable

from utraced.api import call_records as records
from utraced.api import events
from utraced.api.events import Event
from utraced.syscalls.abi import ABIS

from .recorded import Recorded
from .trace import EXECS, Trace

MOST = 140_000
"""Bytes of one event, so that base64 of them fits a packet; what is larger is lost, and counted."""


class Forwarded(Recorded):
    """Does as ``Recorded``, with events ``records`` in place of all others but the last.

    Of the records only the heads are looked at: the first execve, where that is waited for, and the ends.
    """

    def __init__(self, trace: Trace, pid: int, tell: Callable[[Event], None]) -> None:
        super().__init__(trace, pid, tell)
        self._owner = tell
        self._seen = 0

    def take(self, data: bytes, dropped_entries: Callable[[], int]) -> None:
        """See ``Recorded.take``."""
        trace = self.trace
        count = start = 0
        for head in records.heads(data):
            if trace.waiting and self._begins(head):
                start = head.body - records.HEAD.size
            if head.dropped != self._seen:
                trace.dropped += (head.dropped - self._seen) % (1 << 32)
                self._seen = head.dropped
            count += not trace.waiting
            if head.what == records.DEATH and head.tid == self.pid:
                self.note_end(data, head)
        if not count:
            return
        if len(data) - start > MOST:
            trace.dropped += count
            return
        self._owner(events.Records(trace=trace.id, data=data[start:], count=count, format=records.FORMAT, pid=self.pid))

    def count_dropped(self, entries: int) -> None:
        """See ``Recorded.count_dropped``: here all records count, and each tells of those before it."""

    def count_records(self, dropped: int) -> None:
        """Note how many records found no room in all, behind the last one too."""
        self.trace.dropped += dropped - self._seen
        self._seen = dropped

    def _begins(self, head: records.Head) -> bool:
        """Tell whether this is the execve that the trace waits for."""
        abi = ABIS[records.ABI_NAMES[head.abi]]
        self.trace.waiting = head.what != records.ENTRY or abi.name_of(head.nr) not in EXECS
        return not self.trace.waiting
