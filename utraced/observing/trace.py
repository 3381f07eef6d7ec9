"""A trace: what it wants of the system calls of a tree of processes, and the events made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from utraced.api import events
from utraced.api.events import Event
from utraced.syscalls.abi import AUDIT_ARCH_X86_64, from_audit
from utraced.syscalls.memory import Memory
from utraced.syscalls.results import errno_name

from .capture import Entry, Plan, args_text, plan, stack_text
from .paths import names_path
from .selection import Selection
from .stop import SyscallStop

EXECS = frozenset({"execve", "execveat"})
REMEMBERED = 4096


class Audience(Protocol):
    """Whom a trace's events are told."""

    def tell(self, event: Event) -> None:
        """Take ``event``."""
        ...

    def congested(self) -> bool:
        """Tell whether they come faster than they are taken."""
        ...


class CallingProcess(Protocol):
    """The process of a thread that makes calls."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def target(self) -> Memory:
        """Its memory."""
        ...


class Caller(Protocol):
    """A thread that makes calls; ``entries`` is what each trace has kept of the call it is in."""

    tid: int
    entries: dict[Trace, Entry]

    @property
    def process(self) -> CallingProcess:
        """Its process."""
        ...


class Trace:
    """One ``trace.start``: it has one engine in each process it traces.

    ``limit`` is the number of bytes told of each string.  ``prefix``: how a path among the arguments must begin.
    ``waiting``: nothing is told before the first execve.  ``filtered``: a seccomp filter stops its calls alone.
    ``untold`` are the threads in a call of which the client knows nothing yet (kept where ``entries`` were asked for).
    """

    __slots__ = (
        "_plans",
        "block",
        "delivered",
        "dropped",
        "entries",
        "failed_only",
        "filtered",
        "follow",
        "id",
        "limit",
        "lost",
        "owner",
        "prefix",
        "processes",
        "selection",
        "stacks",
        "untold",
        "waiting",
    )

    def __init__(  # noqa: PLR0913 - a trace's settings
        self,
        owner: Audience,
        selection: Selection,
        *,
        limit: int = 32,
        failed_only: bool = False,
        follow: bool = False,
        block: bool = False,
        entries: bool = False,
        from_exec: bool = False,
        stacks: bool = False,
        filtered: bool = False,
        prefix: bytes = b"",
    ) -> None:
        self.id = 0
        self.owner = owner
        self.selection = selection
        self.limit = limit
        self.failed_only = failed_only
        self.prefix = prefix
        self.follow = follow
        self.block = block
        self.entries = entries and not failed_only
        self.waiting = from_exec
        self.stacks = stacks
        self.filtered = filtered
        self.processes = 0
        self.delivered = 0
        self.lost = 0
        self.dropped = 0
        self.untold: dict[Caller, Entry] = {}
        self._plans: dict[int | tuple[int, int], Plan | None] = {}

    def enter(self, tracee: Caller, stop: SyscallStop) -> None:
        """Note that ``tracee`` enters a call, and read what its arguments point to."""
        key = stop.nr if stop.arch == AUDIT_ARCH_X86_64 else (stop.arch, stop.nr)
        try:
            known = self._plans[key]
        except KeyError:
            known = self._plan(key, stop)
        if self.waiting and not self._begins(stop):
            return
        if known is None:
            return
        if self.prefix and not names_path(self.prefix, known.abi, stop, tracee.process.target):
            return
        tracee.entries[self] = entry = Entry(stop, known)
        if known.reads:
            entry.read_entry(tracee.process.target, self.limit)
        if self.entries:
            self.untold[tracee] = entry

    def _begins(self, stop: SyscallStop) -> bool:
        """Tell whether this is the execve that the trace waits for; from then on everything is told."""
        self.waiting = from_audit(stop.arch, stop.nr).name_of(stop.nr) not in EXECS
        return not self.waiting

    def _plan(self, key: int | tuple[int, int], stop: SyscallStop) -> Plan | None:
        """Work out whether calls of this number are wanted, and what they are."""
        abi = from_audit(stop.arch, stop.nr)
        known = plan(abi, stop.nr) if self.selection.wants(abi, stop.nr) else None
        if len(self._plans) >= REMEMBERED:  # a target may make calls of any number
            self._plans.clear()
        self._plans[key] = known
        return known

    def leave(self, tracee: Caller, stop: SyscallStop) -> events.Syscall | None:
        """Return the event of the call that ``tracee`` returns from, or None where it is not wanted."""
        entry = tracee.entries.pop(self, None)
        if entry is None:
            return None
        if self.entries:
            self.untold.pop(tracee, None)
        failed = stop.failed
        if self.failed_only and not failed:
            return None
        if entry.plan.reads:
            entry.read_return(tracee.process.target, stop)
        event = self._event(tracee, entry, stop.time_ns)
        event.result = stop.result
        if failed:
            event.errno = errno_name(-stop.result)
        return event

    def abandon(self, tracee: Caller, time_ns: int) -> events.Syscall | None:
        """Return the event of a call that will not be seen to return, or None where there is none."""
        entry = tracee.entries.pop(self, None)
        if entry is None:
            return None
        self.untold.pop(tracee, None)
        if self.failed_only:
            return None
        event = self._event(tracee, entry, max(time_ns, entry.stop.time_ns))
        event.unfinished = True
        return event

    def overtaken(self, before_ns: int | None = None) -> Iterator[events.SyscallEntry]:
        """Tell the entries of the calls of which the client knows nothing yet, of those entered ``before_ns``."""
        for tracee, entry in list(self.untold.items()):
            if before_ns is None or entry.stop.time_ns <= before_ns:
                del self.untold[tracee]
                yield self._entry_event(tracee, entry)

    def _entry_event(self, tracee: Caller, entry: Entry) -> events.SyscallEntry:
        stop, known = entry.stop, entry.plan
        strings, memory = entry.contents()
        return events.SyscallEntry(
            time_ns=stop.time_ns,
            pid=tracee.process.pid,
            tid=tracee.tid,
            trace=self.id,
            arch=known.abi.name,
            nr=stop.nr,
            name=known.name,
            args=args_text(stop.args),
            pc=hex(stop.pc),
            sp=hex(stop.sp),
            strings=strings,
            memory=memory,
            stack=stack_text(entry.stack),
        )

    def _event(self, tracee: Caller, entry: Entry, time_ns: int) -> events.Syscall:
        stop, known = entry.stop, entry.plan
        event = events.Syscall(
            time_ns=time_ns,
            pid=tracee.process.pid,
            tid=tracee.tid,
            trace=self.id,
            arch=known.abi.name,
            nr=stop.nr,
            name=known.name,
            args=args_text(stop.args),
            pc=hex(stop.pc),
            sp=hex(stop.sp),
            start_ns=stop.time_ns,
            duration_ns=time_ns - stop.time_ns,
            stack=stack_text(entry.stack),
        )
        if known.reads:
            event.strings, event.memory = entry.contents()
        return event
