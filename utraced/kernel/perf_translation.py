"""From samples of events to the records of ``utraced.api.call_records``: who is in a trace, and what is told of it.

Whose a process is, nothing looks at in the kernel here.  It is known from the calls that change it: a process falls
silent as it enters one.  Programs with privileges the kernel knows itself: it takes the events away before such a
program runs (begin_new_exec, fs/exec.c), after the thread has got its name.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import NamedTuple, Protocol

from utraced.api import call_records as records

from . import perf_samples as samples
from .perf_calls import Watched, leaves, watched
from .perf_samples import Item
from .recorder_requests import MAX_NUMBERS

_ENTRY = records.HEAD.size - 8 + records.ENTERED.size
_EXIT = records.HEAD.size - 8 + records.RETURNED.size
_head, _entered, _returned = records.HEAD.pack, records.ENTERED.pack, records.RETURNED.pack
_WIDE = 2
"""PERF_SAMPLE_REGS_ABI_64."""
_X32 = 1 << 30
_SIGKILL = 9
_ERRORS, _NARROW, _MASK = 4096, 1 << 32, 0xFFFFFFFF
_DUMPING = frozenset({3, 4, 5, 6, 7, 8, 11, 24, 25, 31})
"""Signals of which a thread is told, and which then end its process (signal(7)); of others that end it nobody is."""


class Wanted(NamedTuple):
    """The calls of a trace: their numbers for each ABI, and whether those without a number are among them."""

    x86_64: Container[int]
    i386: Container[int]
    others: bool

    def has(self, abi: int, number: int) -> bool:
        """Tell whether a call is one of them."""
        if abi == 2 or not 0 <= number < MAX_NUMBERS - 1:
            return self.others
        return number in (self.i386 if abi else self.x86_64)


class Settings(NamedTuple):
    """What is asked of a trace.  ``owner``: the uid and gid that its processes have to keep, None where any will do."""

    wanted: Wanted
    follow: bool = False
    failed_only: bool = False
    owner: tuple[int, int] | None = None


class Ends(Protocol):
    """Finds out how processes have ended."""

    def status(self, pid: int) -> int | None:
        """Return how it has ended, as of wait(2), None where that is not to be found out."""
        ...


class Counts:
    """What the counters of a trace tell, as in ``bpf_layout``."""

    def __init__(self) -> None:
        self.processes = 0
        self.entries = self.exits = self.others = 0
        self.silenced = False

    @property
    def dropped(self) -> int:
        """How many records found no room."""
        return self.entries + self.exits + self.others


class _Process:
    """A process that is seen.

    ``told``: it is in the trace; others are seen for what they may do to it.  ``kin`` are those that may share its
    memory.  ``moved``: it may be in another user namespace.  ``status``: how it ends, as far as is known.
    """

    __slots__ = ("kin", "moved", "pid", "status", "threads", "told")

    def __init__(self, pid: int, *, told: bool, kin: set[int], moved: bool) -> None:
        self.pid = pid
        self.told = told
        self.kin = kin
        self.moved = moved
        self.threads: set[int] = set()
        self.status: int | None = None


class _Thread:
    """A thread: the call that it is in, if that is told, and since when (a count of losses).

    ``known``: nothing has to be guessed of what it is in.  ``fresh``: it is still in the call that has made it.
    """

    __slots__ = ("abi", "birth", "fresh", "held", "inside", "known", "process", "renamed", "since", "status")

    def __init__(self, process: _Process, abi: int, *, known: bool) -> None:
        self.process = process
        self.abi = abi
        self.known = known
        self.fresh = False
        self.inside = False
        self.since = 0
        self.held = b""
        self.birth: tuple[Watched, int, int] | None = None
        self.renamed = False
        self.status: int | None = None


class Translator:
    """Translates what is sampled of process ``pid``, with threads ``tids``, in the order of its times.

    ``abi``: of its program.
    """

    def __init__(self, pid: int, tids: Iterable[int], settings: Settings, ends: Ends, *, abi: int) -> None:
        self.counts = Counts()
        self._settings = settings
        self._ends = ends
        self._watched = watched(guarded=settings.owner is not None)
        self._processes = {pid: _Process(pid, told=True, kin={pid}, moved=False)}
        self._threads: dict[int, _Thread] = {}
        self._losses = self._room = 0
        self._out: list[bytes] = []
        for tid in tids:
            # It may be in a call: of that the return is told too.
            self._add(self._processes[pid], tid, abi).known = False
        self._takers: dict[int, Callable[..., None]] = {
            samples.SIDE_ENTER: self._beside,
            samples.DELIVER: self._deliver,
            samples.EXECED: self._execed,
            samples.FORK: self._fork,
            samples.ENDED: self._end,
            samples.RENAMED: self._renamed,
            samples.LOST: self._lost,
            samples.LOST_BESIDE: self._lost_beside,
        }

    @property
    def over(self) -> bool:
        """Whether no process is left."""
        return self.counts.processes < 0

    @property
    def told(self) -> list[int]:
        """The processes that are in the trace."""
        return [pid for pid, process in self._processes.items() if process.told]

    def translate(self, items: Iterable[Item], room: int) -> bytes:
        """Return the records of samples; what does not fit into ``room`` bytes is counted."""
        self._room = room
        enter, leave = self._enter, self._leave
        for item in items:
            kind = item[3]
            if kind == samples.ENTER:
                enter(item)
            elif kind == samples.EXIT:
                leave(item)
            else:
                self._takers[kind](*item[:3], *item[4:])
        out, self._out = self._out, []
        return b"".join(out)

    def _lost_beside(self, pid: int, tid: int, time: int) -> None:
        del pid, tid
        self.silence(time)

    def silence(self, time: int, pid: int | None = None) -> None:
        """Tell no more of a process, or of any: it is not known any more whose they are."""
        for process in list(self._processes.values()):
            if pid is None or process.pid == pid:
                self._silence(process, time)

    # Calls

    def _enter(self, item: Item) -> None:
        pid, tid, time, _, number, first, second, third, fourth, fifth, sixth, wide, si, di, sp, pc, r10 = item
        thread = self._threads.get(tid) or self._appeared(pid, tid)
        if thread is None or not thread.process.told:
            return
        # A program of 64 bits too may call as one of 32 does: then the arguments are in other registers.
        narrow = wide != _WIDE or first != di or second != si or fourth != r10
        thread.abi = abi = 1 if narrow else 2 if number > 0 and number & _X32 else 0
        thread.known = True
        thread.inside = thread.fresh = False
        if not self._settings.wanted.has(abi, number):
            return
        thread.since = self._losses
        record = _head(_ENTRY, time, pid, tid, records.ENTRY, abi, number & _MASK, self.counts.dropped) + _entered(
            first, second, third, fourth, fifth, sixth, pc, sp
        )
        if self._settings.failed_only:
            thread.held = record
            thread.inside = True
        else:
            thread.inside = self._put(record)
            self.counts.entries += not thread.inside

    def _leave(self, item: Item) -> None:
        pid, tid, time, _, number, result = item
        thread = self._threads.get(tid)
        if thread is None:
            return
        if thread.inside:
            thread.inside = False
            if thread.since != self._losses:
                # Between both something was lost, and this may be the return from another call.
                self.counts.exits += not self._settings.failed_only
                return
        elif thread.fresh or not self._settings.wanted.has(thread.abi, number) or self._settings.failed_only:
            thread.fresh = False
            return
        elif thread.known:  # its entry has found no room
            self.counts.exits += 1
            return
        thread.known = True
        abi = thread.abi
        record = _head(_EXIT, time, pid, tid, records.EXIT, abi, number & _MASK, self.counts.dropped)
        record += _returned(result)
        if self._settings.failed_only:
            if not _failed(result, abi):
                return
            record = thread.held + record
            if not self._put(record):
                self.counts.entries += 1
                self.counts.exits += 1
        elif not self._put(record):
            self.counts.exits += 1

    def _beside(self, pid: int, tid: int, time: int, number: int, *rest: int) -> None:
        """Take the entry of a call that matters whether it is wanted or not."""
        arguments, (wide, si, di, _, _, r10) = rest[:6], rest[6:]
        narrow = wide != _WIDE or arguments[0] != di or arguments[1] != si or arguments[3] != r10
        call = self._watched.get((int(narrow), number & ~_X32))
        thread = self._threads.get(tid) or self._appeared(pid, tid)
        if call is None or thread is None:
            return
        process = thread.process
        owner = self._settings.owner
        if owner is not None and leaves(call, arguments, owner, moved=process.moved):
            for one in list(process.kin):
                if one in self._processes:
                    self._silence(self._processes[one], time)
            return
        if call.role == "end":
            thread.status = (arguments[0] & 0xFF) << 8
        elif call.role == "end_all":
            if process.status is None:
                process.status = (arguments[0] & 0xFF) << 8
        elif call.role in {"birth", "birth_unseen"}:
            thread.birth = call, arguments[0] if call.name == "clone" else 0, number

    # Processes and threads

    def _fork(self, pid: int, tid: int, time: int, child_pid: int, child_tid: int) -> None:
        thread = self._threads.get(tid) or self._appeared(pid, tid)
        if thread is None:
            return
        call, flags, number = thread.birth or (None, 0, 0)
        if thread.process.told:
            own = records.CLONED.pack(child_pid, child_tid, flags)
            self._tell(time, pid, tid, records.CLONE, own, number=number, abi=thread.abi)
        if child_pid == pid:
            self._add(thread.process, child_tid, thread.abi).fresh = True
        elif self._settings.follow or self._settings.owner is not None:
            unseen = call is None or call.role == "birth_unseen"
            apart = call is not None and (call.name == "fork" or (call.name == "clone" and not flags & _CLONE_VM))
            kin = set() if apart else thread.process.kin
            kin.add(child_pid)
            told = thread.process.told and self._settings.follow
            child = _Process(child_pid, told=told, kin=kin, moved=thread.process.moved or unseen)
            self._processes[child_pid] = child
            self.counts.processes += told
            self._add(child, child_tid, thread.abi).fresh = True

    def _renamed(self, pid: int, tid: int, time: int) -> None:
        """Take the first half of an execution: a program with privileges has no second one."""
        del time
        # It is the leader now, whichever thread it was (de_thread, fs/exec.c).
        thread = self._threads.get(tid) or self._appeared(pid, tid)
        if thread is not None:
            thread.renamed = True

    def _execed(self, pid: int, tid: int, time: int, name: bytes, former: int) -> None:
        thread = self._threads.get(tid) or self._appeared(pid, tid)
        if thread is None:
            return
        process = thread.process
        if process.told:
            own = records.EXECED.pack(former) + records.FRAGMENT.pack(0, len(name), records.ENDED) + name
            self._tell(time, pid, tid, records.EXEC, own)
        process.kin.discard(pid)
        process.kin = {pid}
        process.status = None
        moved = self._threads.pop(former, None)
        if moved is not None:  # its call, the execution, is still to return, with the leader's number
            self._threads[tid] = thread = moved
        thread.renamed = False
        process.threads = {tid}

    def _end(self, pid: int, tid: int, time: int) -> None:
        thread = self._threads.pop(tid, None)
        if thread is None:
            return
        process = thread.process
        if thread.renamed:
            self._silence(process, time)
            return
        process.threads.discard(tid)
        last = not process.threads
        if process.told:
            status = process.status if process.status is not None else thread.status
            if status is None:
                status = process.status = self._ends.status(pid)
            if status is None:
                status = records.UNKNOWN_STATUS
            self._tell(time, pid, tid, records.DEATH, records.DIED.pack(status, last))
        if last:
            self._forget(process)

    def _deliver(self, pid: int, tid: int, time: int, *fields: int) -> None:
        number, error, code, handler = fields
        thread = self._threads.get(tid) or self._appeared(pid, tid)
        # With SIGKILL all threads are ended, whatever the reason (get_signal, kernel/signal.c).
        if thread is None or not thread.process.told or number == _SIGKILL:
            return
        if handler == 0 and number in _DUMPING:
            found = self._ends.status(pid)
            thread.process.status = number if found is None else found
        self._tell(time, pid, tid, records.SIGNAL, records.SIGNALLED.pack(number, error, code), number=number)

    def _lost(self, pid: int, tid: int, time: int) -> None:
        """Something has been lost at this time: what was entered before is not told to return."""
        del pid, tid, time
        self._losses += 1

    def _appeared(self, pid: int, tid: int) -> _Thread | None:
        """Return a thread of a process that is in the trace, of whose birth nothing is known."""
        process = self._processes.get(pid)
        return None if process is None else self._add(process, tid, 0)

    def _add(self, process: _Process, tid: int, abi: int) -> _Thread:
        process.threads.add(tid)
        thread = self._threads[tid] = _Thread(process, abi, known=True)
        return thread

    def _silence(self, process: _Process, time: int) -> None:
        self._forget(process)
        if process.told:
            self.counts.silenced = self.over
            self._tell(time, process.pid, process.pid, records.DETACHED, b"")

    def _forget(self, process: _Process) -> None:
        del self._processes[process.pid]
        process.kin.discard(process.pid)
        for tid in process.threads:
            self._threads.pop(tid, None)
        self.counts.processes -= process.told

    # Records

    def _tell(  # noqa: PLR0913 - a record's head
        self, time: int, pid: int, tid: int, what: int, own: bytes, *, number: int = 0, abi: int = 0
    ) -> None:
        size = records.HEAD.size - 8 + len(own)
        record = _head(size, time, pid, tid, what, abi, number & _MASK, self.counts.dropped) + own
        record += bytes(-len(record) % 8)
        if not self._put(record):
            self.counts.others += 1

    def _put(self, record: bytes) -> bool:
        if len(record) > self._room:
            return False
        self._room -= len(record)
        self._out.append(record)
        return True


_CLONE_VM = 0x100


def _failed(result: int, abi: int) -> bool:
    """Tell whether a result is an error; of 32 bits it may come without its sign."""
    if abi == 1 and result >= _NARROW - _ERRORS:
        result -= _NARROW
    return -_ERRORS < result < 0
