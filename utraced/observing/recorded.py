"""A trace that the kernel records while nothing stops: its records in, the events of a trace out.

The same ``Trace`` as with ptrace makes the events, from the memory that was copied with each call; the same decoders
sort it.  What is told differently is in the documentation of ``trace.start``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from utraced.api import call_records as records
from utraced.api import events
from utraced.api.events import Event
from utraced.model import Status, exact_bytes, text_of
from utraced.syscalls.abi import ABIS, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64
from utraced.syscalls.memory import NOTHING, Fragment, Memory, Snapshot
from utraced.syscalls.siginfo import code_name, decode_siginfo
from utraced.syscalls.signals import signal_name

from .capture import Entry
from .stop import SyscallStop
from .trace import Trace

SIGINFO_SIZE = 128
CLONE_VFORK, CLONE_THREAD = 0x4000, 0x10000
"""include/uapi/linux/sched.h."""
_ARCHES = (AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64)
_ERRORS = 4096
_NEGATIVE, _WRAP_32 = 1 << 31, 1 << 32

Reason = Literal["client_request", "session_closed", "target_exited", "policy", "daemon_stopping"]


class Known:
    """What is known of a process's memory at the moment that is told of."""

    def __init__(self) -> None:
        self.known: Memory = NOTHING

    def read(self, address: int, size: int) -> bytes:
        """See ``Memory.read``."""
        return self.known.read(address, size)

    def string(self, address: int, limit: int) -> tuple[bytes, bool]:
        """See ``Memory.string``."""
        return self.known.string(address, limit)


class Process(NamedTuple):
    """See ``CallingProcess``."""

    pid: int
    target: Known


class Thread:
    """See ``Caller``."""

    __slots__ = ("entries", "process", "tid")

    def __init__(self, tid: int, process: Process) -> None:
        self.tid = tid
        self.process = process
        self.entries: dict[Trace, Entry] = {}


class Recorded:
    """The recorded side of ``trace``, which begins with process ``pid``; ``tell`` takes its events.

    ``ended`` once its detached has been told.
    """

    def __init__(self, trace: Trace, pid: int, tell: Callable[[Event], None]) -> None:
        self.trace = trace
        self.pid = pid
        self.ended = False
        self.status: Status | None = None
        self._tell_owner = tell
        self._memory = Known()
        self._processes: dict[int, Process] = {pid: Process(pid, self._memory)}
        self._threads: dict[int, Thread] = {}
        self._presumed: dict[int, int] = {}
        self._leaders: dict[int, tuple[int, Status | None]] = {}
        self._signals: dict[int, tuple[events.Signal, records.Head]] = {}
        self._later: dict[int, list[tuple[events.Signal, records.Head]]] = {}
        self._dropped = 0
        self._counted = 0
        self._takers: Mapping[int, Callable[[bytes, records.Head], None]] = {
            records.ENTRY: self._enter,
            records.EXIT: self._leave,
            records.CLONE: self._clone,
            records.EXEC: self._exec,
            records.DEATH: self._death,
            records.SIGNAL: self._signal,
            records.SENT: self._sent,
            records.IGNORED: self._ignored,
            records.DETACHED: self._detached,
            records.IN_CALL: self._in_call,
        }

    def presume(self, stop: SyscallStop, memory: Memory) -> None:
        """Take a thread that was in a call when the trace began, as /proc tells it; ``memory`` is its process's now."""
        thread = self._thread(self.pid, stop.tid)
        self._memory.known = memory
        self.trace.enter(thread, stop)
        if thread.entries:
            self._presumed[stop.tid] = stop.nr

    def take(self, data: bytes, dropped_entries: Callable[[], int]) -> None:
        """Take whole records; ``dropped_entries`` tells how many entries of calls found no room so far.

        Raises ``records.BadRecord``.
        """
        takers = self._takers
        for head in records.heads(data):
            if head.dropped != self._dropped:
                self._dropped = head.dropped
                self.count_dropped(dropped_entries())
            taker = takers.get(head.what)
            if taker is not None:
                taker(data, head)

    def count_dropped(self, entries: int) -> None:
        """Note how many calls are lost, since their entries found no room."""
        self.trace.dropped += entries - self._counted
        self._counted = entries

    def overdue(self, before_ns: int) -> None:
        """Tell the entries of calls that last since ``before_ns``."""
        for entry in self.trace.overtaken(before_ns):
            self._tell_owner(entry)

    def end(self, reason: Reason, time_ns: int) -> None:
        """Tell of what is unfinished, and that the trace has ended."""
        if self.ended:
            return
        self.abandon(time_ns)
        self.ended = True
        self.trace.processes = 0
        self._tell_owner(
            events.Detached(
                reason=reason, status=self.status, pid=self.pid, tid=self.pid, trace=self.trace.id, time_ns=time_ns
            )
        )

    def abandon(self, time_ns: int) -> None:
        """Tell of the calls that will not be seen to return."""
        for thread in list(self._threads.values()):
            self._abandon(thread, time_ns)

    @property
    def alive(self) -> bool:
        """Whether, as far as records tell, a process of the trace is left."""
        return bool(self._processes)

    def note_end(self, data: bytes, head: records.Head) -> None:
        """Keep how the process ended with which the trace began."""
        self.status = _status(records.part(records.DIED, data, head)[0])

    def count_records(self, dropped: int) -> None:
        """Note how many records found no room in all; see ``count_dropped`` for what that means for calls."""

    # Records

    def _enter(self, data: bytes, head: records.Head) -> None:
        thread = self._thread(head.pid, head.tid)
        if thread.entries:
            # Its return found no room, or it was only presumed to be in the call.
            if self._presumed.pop(head.tid, None) is None:
                self.trace.dropped += 1
            thread.entries.clear()
            self.trace.untold.pop(thread, None)
        self._memory.known = Snapshot(_fragments(data, head, records.ENTERED.size, at_entry=False))
        self.trace.enter(thread, _entered(data, head))
        if self.trace.stacks and (entry := thread.entries.get(self.trace)) is not None:
            entry.stack = records.stack(data, head.body + records.ENTERED.size, head.end)

    def _in_call(self, data: bytes, head: records.Head) -> None:
        self.presume(_entered(data, head), Snapshot(_fragments(data, head, records.ENTERED.size, at_entry=False)))

    def _leave(self, data: bytes, head: records.Head) -> None:
        (result,) = records.part(records.RETURNED, data, head)
        if head.abi == 1 and result >= _WRAP_32 - _ERRORS:
            result -= _WRAP_32
        thread = self._threads.get(head.tid)
        if thread is None or not thread.entries:
            return  # its entry found no room, and is counted; or a new thread's return from the call that made it
        presumed = self._presumed.pop(head.tid, None)
        if presumed is not None and presumed != head.nr:
            thread.entries.clear()
            self.trace.untold.pop(thread, None)
            return
        entry = thread.entries.get(self.trace)
        late = _fragments(data, head, records.RETURNED.size, at_entry=True)
        if entry is not None and late and entry.plan.reads:
            entry.read_entry(Snapshot([*entry.recording.fragments, *late]), self.trace.limit)
        self._memory.known = Snapshot(_fragments(data, head, records.RETURNED.size, at_entry=False))
        failed = -_ERRORS < result < 0
        stop = SyscallStop(head.tid, head.time_ns, 0, False, _ARCHES[head.abi], 0, head.nr, (), result, failed)
        event = self.trace.leave(thread, stop)
        if event is not None:
            self._tell_owner(event)
        if self._later:
            for signal, told in self._later.pop(head.tid, ()):
                self._tell(told, signal)

    def _clone(self, data: bytes, head: records.Head) -> None:
        child_pid, child_tid, flags = records.part(records.CLONED, data, head)
        how: Literal["thread", "fork", "vfork"] = "thread"
        if child_pid != head.pid:
            name = ABIS["x86_64"].name_of(head.nr)
            how = "vfork" if name == "vfork" or (name in {"clone", "clone3"} and flags & CLONE_VFORK) else "fork"
            if self.trace.follow and child_pid not in self._processes:
                self._processes[child_pid] = Process(child_pid, self._memory)
                self.trace.processes += 1
        self._tell(head, events.Clone(how=how, child_pid=child_pid, child_tid=child_tid))

    def _exec(self, data: bytes, head: records.Head) -> None:
        (former,) = records.part(records.EXECED, data, head)
        self.trace.waiting = False  # its entry is not recorded where that is not wanted
        if former != head.tid:
            self._supersede(head, former)
        names = _fragments(data, head, records.EXECED.size, at_entry=False)
        name = names[0].data if names else b""
        text = text_of(name) if name else None
        exact = exact_bytes(name, text) if text is not None else None
        self._tell(head, events.Exec(path=text, path_bytes=exact, former_tid=former))

    def _supersede(self, head: records.Head, former: int) -> None:
        """A thread that is no leader has taken over the leader's id."""
        leader = self._threads.pop(head.pid, None)
        if leader is not None:
            self._abandon(leader, head.time_ns)
        self._leaders.pop(head.pid, None)
        self._tell(head, events.Death(status=None, successor_tid=former))
        thread = self._threads.pop(former, None)
        if thread is not None:
            thread.tid = head.tid
            self._threads[head.tid] = thread

    def _death(self, data: bytes, head: records.Head) -> None:
        code, last = records.part(records.DIED, data, head)
        status = _status(code)
        if head.tid == head.pid:
            if not last:
                # Told with the last of its threads, unless one of them executes a program and takes its place.
                self._leaders[head.pid] = head.time_ns, status
                return
            self._bury(head, head.tid, status, last=True)
            return
        leader = self._leaders.pop(head.pid, None) if last else None
        self._bury(head, head.tid, status, last=bool(last) and leader is None)
        if leader is not None:
            self._bury(head, head.pid, leader[1] or status, last=True)

    def _bury(self, head: records.Head, tid: int, status: Status | None, *, last: bool) -> None:
        sent = self._signals.pop(head.pid, None)
        if sent is not None and status is not None and sent[0].signal == status.signal != "SIGKILL":
            self._tell(sent[1], sent[0])
        self._later.pop(tid, None)
        thread = self._threads.pop(tid, None)
        if thread is not None:
            self._abandon(thread, head.time_ns)
        self._presumed.pop(tid, None)
        event = events.Death(status=status, last=last)
        event.tid = tid
        self._tell(head, event)
        if tid == self.pid:
            self.status = status
        if last:
            self._forget(head.pid)

    def _signal(self, data: bytes, head: records.Head) -> None:
        self._signals.pop(head.pid, None)
        self._tell(head, _signal_event(data, head))

    def _sent(self, data: bytes, head: records.Head) -> None:
        """Remember a signal: one that ends its process by itself is never delivered (complete_signal)."""
        event = _signal_event(data, head)
        self._signals[head.pid] = event, head

    def _ignored(self, data: bytes, head: records.Head) -> None:
        """Tell a signal that is ignored when the thread would have seen it: after the call it is in."""
        event = _signal_event(data, head)
        thread = self._threads.get(head.tid)
        if thread is not None and thread.entries:
            self._later.setdefault(head.tid, []).append((event, head))
        else:
            self._tell(head, event)

    def _detached(self, data: bytes, head: records.Head) -> None:
        del data
        for tid, thread in list(self._threads.items()):
            if thread.process.pid == head.pid:
                self._abandon(thread, head.time_ns)
                del self._threads[tid]
        self._forget(head.pid)
        if self._processes:
            self._tell(head, events.Detached(reason="policy"))
        else:
            self.end("policy", head.time_ns)

    # What they have in common

    def _thread(self, pid: int, tid: int) -> Thread:
        thread = self._threads.get(tid)
        if thread is None:
            process = self._processes.get(pid)
            if process is None:  # the record of its birth found no room
                process = self._processes[pid] = Process(pid, self._memory)
                self.trace.processes += 1
            thread = self._threads[tid] = Thread(tid, process)
        return thread

    def _forget(self, pid: int) -> None:
        if self._processes.pop(pid, None) is not None and self._processes:
            self.trace.processes -= 1

    def _abandon(self, thread: Thread, time_ns: int) -> None:
        event = self.trace.abandon(thread, time_ns)
        if event is not None and not self.trace.waiting:
            self._tell_owner(event)

    def _tell(self, head: records.Head, event: Event) -> None:
        """Tell an event that is no call's, after the entries of the calls that it overtakes."""
        trace = self.trace
        if trace.waiting:
            return
        for entry in trace.overtaken():
            self._tell_owner(entry)
        event.pid = head.pid
        event.tid = event.tid or head.tid
        event.trace = trace.id
        event.time_ns = head.time_ns
        self._tell_owner(event)


def _entered(data: bytes, head: records.Head) -> SyscallStop:
    """Return the stop that an entry would have been."""
    *args, pc, sp = records.part(records.ENTERED, data, head)
    nr = head.nr if head.nr < _NEGATIVE else head.nr - _WRAP_32
    return SyscallStop(head.tid, head.time_ns, pc, True, _ARCHES[head.abi], sp, nr, tuple(args))


def _signal_event(data: bytes, head: records.Head) -> events.Signal:
    if head.body + records.SIGINFO_SIZE > head.end:
        _, _, code = records.part(records.SIGNALLED, data, head)
        return events.Signal(signal=signal_name(head.nr), code=code_name(head.nr, code))
    info = data[head.body : head.body + records.SIGINFO_SIZE].ljust(SIGINFO_SIZE, b"\0")
    members = decode_siginfo(info).members
    address = members.get("addr")
    return events.Signal(
        signal=signal_name(head.nr),
        code=code_name(head.nr, int.from_bytes(info[8:12], "little", signed=True)),
        sender_pid=members.get("pid"),
        sender_uid=members.get("uid"),
        address=None if address is None else f"{address:#x}",
        info=info,
    )


def _fragments(data: bytes, head: records.Head, after: int, *, at_entry: bool) -> list[Fragment]:
    """Return the memory in a record, of one of the two moments."""
    found: Iterable[records.Fragment] = records.fragments(data, head.body + after, head.end)
    return [Fragment(one.address, one.data, one.ended) for one in found if one.at_entry is at_entry]


def _status(code: int) -> Status | None:
    """Return how a thread ended, from its exit_code, which is as of wait(2), if that is known."""
    if code == records.UNKNOWN_STATUS:
        return None
    number = code & 0x7F
    if number:
        return Status(signal=signal_name(number), core_dumped=bool(code & 0x80))
    return Status(code=code >> 8 & 0xFF)
