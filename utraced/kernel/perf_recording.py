"""One trace by events of tracepoints, where no programs can be loaded: from opening to closing.

There are events for each thread on each CPU, and two rings for each CPU: one for what is told, one beside for what
says who is in the trace, which has to be whole.  A thread of ours reads them, and writes records where the reader finds
them.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from time import monotonic_ns
from typing import NamedTuple

from utraced.linux.limits import locked_memory_limited

from . import perf_events as perf
from . import perf_samples as samples
from .bpf_recording import Shared
from .exit_statuses import ExitStatuses
from .memory_ring import MemoryRing
from .perf_samples import Item, Tracepoints
from .perf_translation import Settings, Translator

log = logging.getLogger("utraced")

INTERVAL = 0.01
"""Seconds between looks into the rings."""
MOST_EVENTS = 8192
"""Of one trace: each is a descriptor, and the kernel switches those of a thread with it."""
SIZES = (8 << 20, 4 << 20, 1 << 20, 256 << 10, 64 << 10)
"""Of a ring, in bytes, the largest first that the kernel grants (perf_event_mlock_kb, RLIMIT_MEMLOCK).

A hundred thousand calls a second are 20 MB, and a busy machine may keep us from running for a tenth of one.
"""
SIDE_SIZES = (512 << 10, 128 << 10, 32 << 10)
MOST_OF_ALL = 64 << 20
"""Bytes of the rings of a trace on all CPUs, but none is below the smallest size."""
MOST_OF_LIMITED = 1 << 20
"""Bytes of a ring where the kernel limits them: with larger ones nothing would be left for others."""
MOST_HELD = 64 << 20
"""Bytes of samples that wait to be looked at; beyond, they stay in the rings, and what finds no room is lost."""
_SLICE, _AT_ONCE = 256 << 10, 2000
"""Bytes that are looked at, and samples that are translated, before more are taken."""
_FULL = 4096
"""Bytes: where no more are left something may have been lost."""
_TRIES = 5


class Filters(NamedTuple):
    """Which calls events look at, as expressions: those that are told, None for all, and those beside."""

    told: str | None
    beside: str


class _Chunk(NamedTuple):
    """What has been taken from a ring, that of what is ``told`` or that beside, which may have been ``full``."""

    data: bytes
    side: bool
    full: bool


class _Batch(NamedTuple):
    """What has been taken at a time: what is older than ``before`` can be put in order, all where that is None."""

    chunks: list[_Chunk]
    before: int | None


class Restless(Exception):
    """A process makes threads or children so fast that not all of them can be seen."""


class _Events:
    """The events of some threads, and their rings; raises OSError."""

    def __init__(self, tids: Iterable[int], points: Tracepoints, filters: Filters, *, follow: bool) -> None:
        self._fds: list[int] = []
        self._lossy: dict[int, list[int]] = {samples.ENTER: [], samples.EXIT: [], samples.DELIVER: []}
        self.told: list[perf.PerfRing] = []
        self.beside: list[perf.PerfRing] = []
        self._points = points
        self._filters = filters
        # Whoever may share the memory of a process is seen in any case.
        self._flags = perf.SAMPLE_ID_ALL | perf.INHERIT
        self._told_flags = self._flags | (0 if follow else perf.INHERIT_THREAD)
        self._owners: dict[int, tuple[int, int]] = {}
        self.tids: list[int] = []
        cpus = list(_online())
        self._sizes = _sizes(len(cpus))
        try:
            for tid in tids:
                try:
                    for cpu in cpus:
                        self._open_all(tid, cpu)
                except ProcessLookupError:
                    continue  # it has ended meanwhile
                self.tids.append(tid)
        except BaseException:
            self.close()
            raise

    def _open_all(self, tid: int, cpu: int) -> None:
        enter, leave, deliver, execed = self._points
        told, beside = self._filters
        # First what says who is there: who is born meanwhile is known then, or nothing of him is seen.
        task = perf.TASK | perf.COMM | perf.COMM_EXEC
        flags = self._flags
        tasks = self._open(execed, tid, cpu, flags=flags | task)
        side = self._open(enter, tid, cpu, flags=flags, registers=samples.REGISTERS, expression=beside)
        flags = self._told_flags
        first = self._open(enter, tid, cpu, flags=flags, registers=samples.REGISTERS, expression=told)
        exits = self._open(leave, tid, cpu, flags=flags, expression=told)
        signals = self._open(deliver, tid, cpu, flags=flags)
        for kind, fd in ((samples.ENTER, first), (samples.EXIT, exits), (samples.DELIVER, signals)):
            self._lossy[kind].append(fd)
        if cpu not in self._owners:
            self.beside.append(_mapped(tasks, SIDE_SIZES))
            self.told.append(_mapped(first, self._sizes))
            self._owners[cpu] = tasks, first
        owners = self._owners[cpu]
        for fd, owner in ((tasks, 0), (side, 0), (first, 1), (exits, 1), (signals, 1)):
            if fd != owners[owner]:
                perf.redirect(fd, owners[owner])

    def _open(  # noqa: PLR0913 - what distinguishes events
        self, point: int, tid: int, cpu: int, *, flags: int, registers: int = 0, expression: str | None = None
    ) -> int:
        if len(self._fds) >= MOST_EVENTS:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        sample = samples.SAMPLED | (perf.SAMPLE_REGS_USER if registers else 0)
        fd = perf.open_event(point, tid, cpu, flags=flags, sample=sample, registers=registers)
        self._fds.append(fd)
        if expression is not None:
            perf.set_filter(fd, expression)
        return fd

    def lost(self) -> tuple[int, int, int]:
        """Return how many entries, exits and other samples have found no room."""
        entries, exits, others = (sum(map(perf.lost, fds)) for fds in self._lossy.values())
        return entries, exits, others

    def disable(self) -> None:
        """Have nothing more be written."""
        for fd in self._fds:
            perf.disable(fd)

    def close(self) -> None:
        """Close all; of a tracepoint that nobody else uses this waits for all CPUs."""
        for ring in (*self.told, *self.beside):
            ring.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def _online() -> Iterator[int]:
    """Give the numbers of the CPUs (Documentation/admin-guide/cputopology.rst)."""
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        for part in file.read().strip().split(","):
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)


def _sizes(cpus: int) -> tuple[int, ...]:
    """Return the sizes to try for each of the rings of what is told."""
    most = MOST_OF_ALL // cpus
    if locked_memory_limited():
        most = min(most, MOST_OF_LIMITED)
    return tuple(size for size in SIZES[:-1] if size <= most) + SIZES[-1:]


def _mapped(fd: int, sizes: tuple[int, ...]) -> perf.PerfRing:
    """Return the ring of an event, as large as the kernel grants."""
    for size in sizes[:-1]:
        with contextlib.suppress(PermissionError):
            return perf.PerfRing(fd, size)
    return perf.PerfRing(fd, sizes[-1])


def _tids(pid: int) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return []


class PerfRecording:
    """Records process ``pid`` from now on, in a ring of ``ring_size`` bytes; nothing is told before ``start``.

    ``narrow``: whether it runs a 32-bit program.  Raises OSError (ESRCH where it has ended), and Restless.
    """

    def __init__(  # noqa: PLR0913 - the parts of a trace
        self, pid: int, points: Tracepoints, filters: Filters, settings: Settings, *, narrow: bool, ring_size: int
    ) -> None:
        self._points = points
        self._owner = settings.owner
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting: list[Item] = []
        self._batches: deque[_Batch] = deque()
        self._held = self._fetched_ns = 0
        self._seen_lost = 0, 0, 0
        self._ends = ExitStatuses()
        self._ends.watch(pid)
        with contextlib.ExitStack() as undone:
            undone.callback(self._ends.close)
            self._events = self._opened(pid, filters, follow=settings.follow)
            undone.callback(self._events.close)
            self._ring = MemoryRing(ring_size)
            undone.callback(self._ring.close)
            self._over = os.eventfd(0)
            undone.pop_all()
        self._translator = Translator(pid, self._events.tids, settings, self._ends, abi=int(narrow))

    def _opened(self, pid: int, filters: Filters, *, follow: bool) -> _Events:
        """Return the events of all threads.

        Who is born while they are opened has some of them, or none: then they are opened anew.
        """
        failed: list[_Events] = []
        try:
            for _ in range(_TRIES):
                tids = _tids(pid)
                events = _Events(tids, self._points, filters, follow=follow)
                self._waiting = [
                    item for ring in events.beside for item in samples.items(ring.take(), self._points, side=True)
                ]
                born = any(item[3] == samples.FORK for item in self._waiting)
                if events.tids and not born and set(_tids(pid)) <= set(tids):
                    return events
                failed.append(events)
                if not events.tids:
                    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            raise Restless
        finally:
            # Last: as long as others of a tracepoint are open this takes no time.
            for events in failed:
                events.close()

    @property
    def shared(self) -> Shared:
        """What may be given away; it stays ours to close."""
        return Shared(self._ring.fd, self._ring.counters)

    def start(self) -> None:
        """Have records written.  Raises RuntimeError where no thread can be made."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Have the rest be written, and the events closed; when ``fileno()`` can be read, that has been done."""
        self._stop.set()
        if self._thread is not None:
            return
        try:
            self.start()
        except RuntimeError:  # no thread can be made: then it takes its time here
            self._end()
            os.eventfd_write(self._over, 1)

    def fileno(self) -> int:
        """Return what becomes readable when nothing is written any more."""
        return self._over

    def close(self) -> None:
        """End the trace; waits for what ``finish`` began."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        else:
            self._end()
        self._ring.close()
        os.close(self._over)

    def _end(self) -> None:
        self._events.close()
        self._ends.close()

    def _run(self) -> None:
        try:
            self._read()
        except Exception:
            log.exception("a trace by events ends")
            self._translator.silence(monotonic_ns())
            self._write(())
        finally:
            self._end()
            os.eventfd_write(self._over, 1)

    def _read(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._fetch()
            self._work()
        self._events.disable()
        self._fetch(last=True)
        self._work()

    def _fetch(self, *, last: bool = False) -> None:
        """Take what has been sampled, so that there is room for more: to look at it takes many times as long."""
        if not last and (self._held > MOST_HELD or self._stop.is_set()):
            return  # where it is to end, who goes on meanwhile would keep us here
        now = monotonic_ns()
        chunks: list[_Chunk] = []
        for rings, side in ((self._events.beside, True), (self._events.told, False)):
            for ring in rings:
                data = ring.take()
                if data:
                    chunks.append(_Chunk(data, side, len(data) > ring.size - _FULL))
                    self._held += len(data)
        # What is older than the last look has been written by all CPUs: that can be put in order.
        self._batches.append(_Batch(chunks, None if last else self._fetched_ns))
        self._fetched_ns = now

    def _work(self) -> None:
        """Write the records of what has been taken, in the order of its times."""
        while self._batches:
            batch = self._batches.popleft()
            full = self._look(batch)
            ready = self._ready(batch.before)
            if full or batch.before is None:
                self._count_lost()
            self._check()
            for at in range(0, max(1, len(ready)), _AT_ONCE):
                self._write(ready[at : at + _AT_ONCE])
                if batch.before is not None and len(ready) > _AT_ONCE:
                    self._fetch()

    def _look(self, batch: _Batch) -> bool:
        """Take samples apart; return whether some may have been lost behind them."""
        full = False
        for chunk in batch.chunks:
            found: list[Item] = []
            for part in samples.slices(chunk.data, self._points, side=chunk.side, most=_SLICE):
                if found and batch.before is not None:
                    self._fetch()
                found = part
                self._waiting += found
                full |= any(item[3] == samples.LOST for item in found)
                if chunk.side:
                    self._watch(found)
            if chunk.full:
                # What is lost now is told behind the next sample, which may be long in coming.  And beside, whatever is
                # lost might have said that the process is another's.
                full = True
                self._waiting.append((*found[-1][:3], samples.LOST_BESIDE if chunk.side else samples.LOST))
            self._held -= len(chunk.data)
        return full

    def _watch(self, found: Iterable[Item]) -> None:
        """Take note of new processes.

        At once: who lives for a moment alone is still there, or is not known to have ended in which way.
        """
        for item in found:
            if item[3] == samples.FORK and item[4] != item[0]:
                self._ends.watch(item[4])

    def _ready(self, before: int | None) -> list[Item]:
        """Return what is older than ``before``, in order; the rest waits."""
        self._waiting.sort(key=_time)
        ready, self._waiting = self._waiting, []
        if before is not None:
            # Few are left.
            count = len(ready)
            while count and ready[count - 1][2] >= before:
                count -= 1
            ready, self._waiting = ready[:count], ready[count:]
        return ready

    def _check(self) -> None:
        """Look whether processes still are whose they were: one that has shared memory for long may have changed that.

        The owner of its folder in /proc says so (task_dump_owner, fs/proc/base.c).
        """
        if self._owner is None:
            return
        for pid in self._translator.told:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(f"/proc/{pid}").st_uid != self._owner[0]:
                    self._translator.silence(monotonic_ns(), pid)

    def _count_lost(self) -> None:
        counts, lost = self._translator.counts, self._events.lost()
        entries, exits, others = (now - then for now, then in zip(lost, self._seen_lost, strict=True))
        counts.entries += entries
        counts.exits += exits
        counts.others += others
        self._seen_lost = lost

    def _write(self, ready: Iterable[Item]) -> None:
        translator, ring = self._translator, self._ring
        counts = translator.counts
        processes = counts.processes
        data = translator.translate(ready, ring.room)
        # The reader looks for what is lost when a record says so; that nobody is left he is told last.
        self._tell_counts(processes)
        ring.write(data)
        self._tell_counts(counts.processes)

    def _tell_counts(self, processes: int) -> None:
        counts = self._translator.counts
        self._ring.count(processes, counts.dropped, counts.entries, counts.exits, counts.others, 0, 0, counts.silenced)


def _time(item: Item) -> int:
    time: int = item[2]
    return time
