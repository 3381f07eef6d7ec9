"""A recorded trace whose records are passed on as they are, for the client to decode."""

from __future__ import annotations

from collections.abc import Callable

from utraced.api import call_records as records
from utraced.api import events
from utraced.api.events import Event
from utraced.syscalls.abi import ABIS
from utraced.syscalls.memory import Memory

from .recorded import Known, Process, Reason, Recorded, Thread
from .stop import SyscallStop
from .trace import EXECS, Trace

MOST = 140_000
"""Bytes of one event, so that base64 of them fits a packet; what is larger is lost, and counted."""


class Forwarded(Recorded):
    """Does as ``Recorded``, with events ``records`` in place of all others but the last.

    Of the records only the heads are looked at: the first execve, where that is waited for, and the ends.  A call that
    a thread was in already becomes a record too.  The last process to end, or to become one that may not be traced,
    tells the reason of the end.
    """

    def __init__(self, trace: Trace, pid: int, tell: Callable[[Event], None]) -> None:
        super().__init__(trace, pid, tell)
        self._owner = tell
        self._seen = 0
        self._silenced = False

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
            if head.what == records.DEATH:
                self._silenced = False
                if head.tid == self.pid:
                    self.note_end(data, head)
            elif head.what == records.DETACHED:
                self._silenced = True
        if not count:
            return
        if len(data) - start > MOST:
            trace.dropped += count
            return
        self._tell_records(data[start:], count)

    def presume(self, stop: SyscallStop, memory: Memory) -> None:
        """See ``Recorded.presume``."""
        known = Known()
        known.known = memory
        thread = Thread(stop.tid, Process(self.pid, known))
        self.trace.enter(thread, stop)
        self.trace.untold.pop(thread, None)
        entry = thread.entries.get(self.trace)
        if entry is None:
            return
        abi = records.ABI_NAMES.index(entry.plan.abi.name)
        head = records.Head(0, 0, stop.time_ns, self.pid, stop.tid, records.IN_CALL, abi, stop.nr, 0)
        read = entry.recording.fragments if entry.plan.reads else ()
        pieces = [records.Fragment(address, data, ended, False) for address, data, ended in read]
        self._tell_records(records.pack(head, records.ENTERED.pack(*stop.args, stop.pc, stop.sp), pieces), 1)

    def end(self, reason: Reason, time_ns: int) -> None:
        """See ``Recorded.end``; where the last process fell silent, that is the reason."""
        super().end("policy" if self._silenced and reason == "target_exited" else reason, time_ns)

    def _tell_records(self, data: bytes, count: int) -> None:
        self._owner(events.Records(trace=self.trace.id, data=data, count=count, format=records.FORMAT, pid=self.pid))

    def count_dropped(self, entries: int) -> None:
        """See ``Recorded.count_dropped``: here all records count, and each tells of those before it."""

    def count_records(self, dropped: int) -> None:
        """Note how many records found no room in all, behind the last one too."""
        self.trace.dropped += dropped - self._seen
        self._seen = dropped

    def _begins(self, head: records.Head) -> bool:
        """Tell whether this is the execve that the trace waits for."""
        abi = ABIS[records.ABI_NAMES[head.abi]]
        # Where the entry of a call is not wanted, it is not recorded.
        entered = head.what == records.ENTRY and abi.name_of(head.nr) in EXECS
        self.trace.waiting = not entered and head.what != records.EXEC
        return not self.trace.waiting
