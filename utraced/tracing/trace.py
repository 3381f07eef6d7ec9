"""A trace: what it wants of the system calls of a tree of processes, and the events made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from utraced.api import events
from utraced.model import exact_bytes, text_of
from utraced.syscalls.abi import Abi, from_audit
from utraced.syscalls.call import Call
from utraced.syscalls.memory import Recording
from utraced.syscalls.results import errno_name
from utraced.syscalls.signature import Signature

from .selection import Selection
from .stops import SyscallStop

if TYPE_CHECKING:
    from .engine import Owner
    from .process import Tracee

EXECS = frozenset({"execve", "execveat"})


class Entry:
    """A call that a trace saw entered: the stop, what was read then, and whether the client knows of it."""

    __slots__ = ("abi", "call", "recording", "signature", "stop", "told")

    def __init__(self, stop: SyscallStop, abi: Abi) -> None:
        self.stop = stop
        self.abi = abi
        self.call: Call | None = None
        self.signature: Signature | None = None
        self.recording: Recording | None = None
        self.told = False


class Trace:
    """One ``trace.start``: it has one engine in each process it traces.

    ``limit`` is the number of bytes told of each string.  ``waiting``: nothing is told before the first execve.
    ``untold`` are the threads in a call of which the client knows nothing yet (kept where ``entries`` were asked for).
    """

    __slots__ = (
        "block",
        "delivered",
        "dropped",
        "entries",
        "failed_only",
        "follow",
        "id",
        "limit",
        "lost",
        "owner",
        "processes",
        "selection",
        "untold",
        "waiting",
    )

    def __init__(  # noqa: PLR0913 - a trace's settings
        self,
        owner: Owner,
        selection: Selection,
        *,
        limit: int = 32,
        failed_only: bool = False,
        follow: bool = False,
        block: bool = False,
        entries: bool = False,
        from_exec: bool = False,
    ) -> None:
        self.id = 0
        self.owner = owner
        self.selection = selection
        self.limit = limit
        self.failed_only = failed_only
        self.follow = follow
        self.block = block
        self.entries = entries and not failed_only
        self.waiting = from_exec
        self.processes = 0
        self.delivered = 0
        self.lost = 0
        self.dropped = 0
        self.untold: dict[Tracee, Entry] = {}

    def enter(self, tracee: Tracee, stop: SyscallStop) -> None:
        """Note that ``tracee`` enters a call, and read what its arguments point to."""
        abi = from_audit(stop.arch, stop.nr)
        if self.waiting:
            if abi.name_of(stop.nr) not in EXECS:
                return
            self.waiting = False
        if not self.selection.wants(abi, stop.nr):
            return
        entry = Entry(stop, abi)
        signature = abi.signature(stop.nr)
        if signature.choose is not None or signature.reads_entry or signature.reads_return or signature.returns.reads:
            self._read_entry(tracee, entry, signature)
        tracee.entries[self] = entry
        if self.entries:
            self.untold[tracee] = entry

    def _read_entry(self, tracee: Tracee, entry: Entry, signature: Signature) -> None:
        stop = entry.stop
        recording = Recording(tracee.process.target)
        call = Call(entry.abi, stop.nr, stop.args, limit=self.limit, entered=recording)
        signature = signature.of(call)
        for index, kind in signature.reads_entry:
            kind.read_entry(stop.args[index], call)
        entry.call = call
        entry.signature = signature
        entry.recording = recording

    def leave(self, tracee: Tracee, stop: SyscallStop) -> events.Syscall | None:
        """Return the event of the call that ``tracee`` returns from, or None where it is not wanted."""
        entry = tracee.entries.pop(self, None)
        if entry is None:
            return None
        if self.entries:
            self.untold.pop(tracee, None)
        if self.failed_only and not stop.failed:
            return None
        signature = entry.signature
        call = entry.call
        left: Recording | None = None
        if call is not None and signature is not None:
            call.result = stop.result
            call.errno = -stop.result if stop.failed else 0
            left = Recording(tracee.process.target)
            call.left = left
            for index, kind in signature.reads_return:
                kind.read_return(call.args[index], call)
            if not stop.failed:
                signature.returns.read_return(call)
        event = self._event(tracee, entry, left)
        event.result = stop.result
        if stop.failed:
            event.errno = errno_name(-stop.result)
        event.time_ns = stop.time_ns
        event.duration_ns = stop.time_ns - event.start_ns
        return event

    def abandon(self, tracee: Tracee, time_ns: int) -> events.Syscall | None:
        """Return the event of a call that will not be seen to return, or None where there is none."""
        entry = tracee.entries.pop(self, None)
        if entry is None:
            return None
        self.untold.pop(tracee, None)
        if self.failed_only:
            return None
        event = self._event(tracee, entry, None)
        event.time_ns = time_ns
        event.duration_ns = max(0, time_ns - event.start_ns)
        event.unfinished = True
        return event

    def overtaken(self, tracee: Tracee | None, before_ns: int | None = None) -> Iterator[events.SyscallEntry]:
        """Tell the entries of calls that an event of ``tracee`` overtakes, or that were entered ``before_ns``."""
        for other, entry in list(self.untold.items()):
            if other is tracee or (before_ns is not None and entry.stop.time_ns > before_ns):
                continue
            del self.untold[other]
            entry.told = True
            yield self._entry_event(other, entry)

    def _entry_event(self, tracee: Tracee, entry: Entry) -> events.SyscallEntry:
        stop = entry.stop
        a, b, c, d, e, f = stop.args
        strings, memory = _contents(entry, None)
        return events.SyscallEntry(
            time_ns=stop.time_ns,
            pid=tracee.process.pid,
            tid=tracee.tid,
            trace=self.id,
            arch=entry.abi.name,
            nr=stop.nr,
            name=entry.abi.name_of(stop.nr),
            args=(f"{a:#x}", f"{b:#x}", f"{c:#x}", f"{d:#x}", f"{e:#x}", f"{f:#x}"),
            pc=f"{stop.pc:#x}",
            sp=f"{stop.sp:#x}",
            strings=strings,
            memory=memory,
        )

    def _event(self, tracee: Tracee, entry: Entry, left: Recording | None) -> events.Syscall:
        stop = entry.stop
        a, b, c, d, e, f = stop.args
        strings, memory = _contents(entry, left) if entry.recording is not None else (None, None)
        return events.Syscall(
            pid=tracee.process.pid,
            tid=tracee.tid,
            trace=self.id,
            arch=entry.abi.name,
            nr=stop.nr,
            name=entry.abi.name_of(stop.nr),
            args=(f"{a:#x}", f"{b:#x}", f"{c:#x}", f"{d:#x}", f"{e:#x}", f"{f:#x}"),
            pc=f"{stop.pc:#x}",
            sp=f"{stop.sp:#x}",
            start_ns=stop.time_ns,
            strings=strings,
            memory=memory,
        )


def _contents(
    entry: Entry, left: Recording | None
) -> tuple[dict[str, events.Text] | None, list[events.Fragment] | None]:
    """Sort what was read into strings, by argument, and other memory."""
    recording = entry.recording
    if recording is None or entry.signature is None:
        return None, None
    call = entry.call
    strings: dict[str, events.Text] = {}
    memory: list[events.Fragment] = []
    places = {entry.stop.args[index]: (index, kind) for index, kind in entry.signature.reads_entry if kind.string}
    for fragments, returned in ((recording.fragments, False), (left.fragments if left is not None else (), True)):
        for address, data, ended in fragments:
            place = places.pop(address, None)
            if place is None or call is None:
                memory.append(events.Fragment(f"{address:#x}", data + b"\0" if ended else data, returned))
                continue
            index, kind = place
            extent = kind.extent(call)
            text = text_of(data)
            truncated = not ended if extent is None else len(data) < extent
            strings[str(index)] = events.Text(text, exact_bytes(data, text), truncated)
    return strings or None, memory or None
