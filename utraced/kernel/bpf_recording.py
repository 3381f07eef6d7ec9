"""One trace in the kernel: its maps and programs, from loading to closing.

Nothing outlives its descriptors: when the process that holds them ends, in whatever way, nothing of it is left.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Mapping
from typing import NamedTuple

from . import bpf_calls as bpf
from .bpf_assembler import R0, Program
from .bpf_captures import SCRATCH_SIZE
from .bpf_layout import (
    COUNTERS_SIZE,
    FAULTED_SIZE,
    MARK_SIZE,
    PLAN_SIZE,
    PLANS,
    PROCESS,
    Guard,
    Maps,
    Offsets,
    Settings,
)
from .bpf_programs import Code, programs
from .event_pool import Event, EventPool

MAX_PROCESSES = 32_768
_MAX_CALLS = 32_768
_KEY = struct.Struct("<I")


class Shared(NamedTuple):
    """The descriptors that whoever reads a trace may have: with them nothing can be changed but his own reading."""

    ring: int
    counters: int


def knows_loops(offsets: Offsets) -> bool:
    """Tell whether the verifier knows loops without a bound, of which it follows only as many rounds as differ."""
    program = Program()
    program.label("again")
    program.may_goto("out")
    program.goto("again")
    program.label("out")
    program.set(R0, 0)
    program.exit()
    try:
        fd = bpf.load(program.code(), type_id=offsets.tracepoint("sys_enter"), name="utraced_loops")
    except (OSError, bpf.Refused):
        return False
    os.close(fd)
    return True


class ByCall(NamedTuple):
    """What a trace of few calls runs at: the tracepoints of their entries and exits, by their numbers in tracefs."""

    pool: EventPool
    calls: tuple[tuple[int, int], ...]


class Recording:
    """The maps and programs of one trace; ``plans`` are those of the calls wanted, by their place in the table.

    They are loaded; nothing runs before ``attach``.  Raises OSError where the kernel refuses, and ``Refused``.
    """

    def __init__(  # noqa: PLR0913 - the parts of a trace
        self,
        offsets: Offsets,
        guard: Guard | None,
        settings: Settings,
        plans: Mapping[int, bytes],
        *,
        ring_size: int,
        by_call: ByCall | None = None,
    ) -> None:
        self._fds: list[int] = []
        self._programs: dict[Code, int] = {}
        self._planned = b""
        self._by_call = by_call
        self._events: dict[str, list[Event]] = {"sys_enter": [], "sys_exit": []}
        self._links: dict[str, list[int]] = {"sys_enter": [], "sys_exit": []}
        self._narrow = by_call is None
        try:
            self._maps = self._make_maps(ring_size)
            bpf.freeze(self._maps.counters)
            if plans:
                keys, values = b"".join(map(_KEY.pack, plans)), b"".join(plans.values())
                bpf.update_many(self._maps.plans, keys, values, len(plans))
                self._planned = keys
            if by_call is not None:
                for entry, leave in by_call.calls:
                    self._events["sys_enter"].append(by_call.pool.take(entry))
                    self._events["sys_exit"].append(by_call.pool.take(leave))
            self._load(offsets, programs(offsets, guard, settings._replace(by_call=by_call is not None)))
        except BaseException:
            self.close()
            raise

    @property
    def shared(self) -> Shared:
        """What may be given away; it stays ours to close."""
        return Shared(self._maps.ring, self._maps.counters)

    @property
    def narrow(self) -> int | None:
        """What becomes readable when a 32-bit program is there that ``widen`` is needed for; None: it never is."""
        return None if self._narrow else self._maps.narrow

    def attach(self) -> None:
        """Have the programs run from now on."""
        for one, program in self._programs.items():
            if one.of == "call":
                for place in range(len(self._events[one.tracepoint])):
                    self._links[one.tracepoint].append(self._tie(program, self._events[one.tracepoint], place))
            elif one.of == "all":
                self._keep(bpf.attach(program))

    def _tie(self, program: int, events: list[Event], place: int) -> int:
        """Tie a program to an event, or where another is still tied to that, to a new one in its place."""
        assert self._by_call is not None
        try:
            return bpf.attach_to_event(program, events[place].fd)
        except FileExistsError:
            # The link of its last trace is closed, but not by a child that was forked before, to ask the kernel.
            events[place] = self._by_call.pool.another(events[place])
            return bpf.attach_to_event(program, events[place].fd)

    def widen(self) -> None:
        """See the calls of 32-bit programs too, at which no tracepoint of single calls is.

        They are seen from now on, not before: what the kernel is asked for all calls of the machine is dear.
        """
        if self._narrow:
            return
        self._narrow = True
        for one, program in self._programs.items():
            if one.of == "narrow":
                self._keep(bpf.attach(program))

    def add(self, pid: int, started_ns: tuple[int, int]) -> None:
        """Record process ``pid``, which started not before the first and before the second time (CLOCK_BOOTTIME)."""
        bpf.update(self._maps.processes, _KEY.pack(pid), PROCESS.pack(*started_ns))

    def lasting(self) -> int:
        """Return how many threads are in calls whose return may have to be told, where not all calls are told."""
        return bpf.count_keys(self._maps.calls, _KEY.size)

    def close(self) -> None:
        """End the trace."""
        # The links first, which come last: nothing runs any more that would use the others.
        if self._by_call is not None:
            # Of the links to events it takes long to be rid: no call is wanted meanwhile.
            self._forget_plans()
        bpf.close(self._fds[::-1])
        self._fds.clear()
        if self._by_call is not None:
            # Last, as it makes a thread: of our own process, that would be told.
            for name, events in self._events.items():
                self._by_call.pool.give(events, self._links[name])
            self._by_call = None

    def _forget_plans(self) -> None:
        count = len(self._planned) // _KEY.size
        if count and any(self._links.values()):
            bpf.update_many(self._maps.plans, self._planned, bytes(count * PLAN_SIZE), count)

    def _load(self, offsets: Offsets, codes: tuple[Code, ...]) -> None:
        """Load the programs, each CPU its share: what the verifier does for one waits for no other."""
        waiting = sorted(codes, key=lambda one: len(one.code))
        loaded: dict[Code, int] = {}
        failed: list[BaseException] = []

        def load() -> None:
            try:
                while waiting and not failed:
                    try:
                        one = waiting.pop()
                    except IndexError:
                        return  # another thread took it
                    type_id = None if one.of == "call" else offsets.tracepoint(one.tracepoint)
                    name = f"utraced_{one.tracepoint}"
                    loaded[one] = bpf.load(one.code, type_id=type_id, name=name, maps=self._maps)
            except BaseException as error:  # raised by who waits for all
                failed.append(error)

        others = [threading.Thread(target=load) for _ in range(min(len(codes), os.cpu_count() or 1) - 1)]
        for thread in others:
            thread.start()
        load()
        for thread in others:
            thread.join()
        self._programs = {one: self._keep(loaded[one]) for one in codes if one in loaded}
        if failed:
            raise failed[0]

    def _make_maps(self, ring_size: int) -> Maps:
        cpus = os.sysconf("SC_NPROCESSORS_CONF")
        make = bpf.create_map
        return Maps(
            processes=self._keep(
                make(
                    bpf.MAP_HASH,
                    key=4,
                    value=PROCESS.size,
                    entries=MAX_PROCESSES,
                    name="utraced_procs",
                    flags=bpf.NO_PREALLOC,
                )
            ),
            plans=self._keep(make(bpf.MAP_ARRAY, key=4, value=PLAN_SIZE, entries=PLANS, name="utraced_plans")),
            scratch=self._keep(make(bpf.MAP_ARRAY, key=4, value=SCRATCH_SIZE, entries=cpus, name="utraced_scratch")),
            counters=self._keep(
                make(
                    bpf.MAP_ARRAY,
                    key=4,
                    value=COUNTERS_SIZE,
                    entries=1,
                    name="utraced_count",
                    flags=bpf.MMAPABLE,
                )
            ),
            faulted=self._keep(
                make(
                    bpf.MAP_HASH,
                    key=4,
                    value=FAULTED_SIZE,
                    entries=_MAX_CALLS,
                    name="utraced_faulted",
                    flags=bpf.NO_PREALLOC,
                )
            ),
            ring=self._keep(make(bpf.MAP_RINGBUF, key=0, value=0, entries=ring_size, name="utraced_ring")),
            calls=self._keep(
                make(
                    bpf.MAP_HASH,
                    key=4,
                    value=MARK_SIZE,
                    entries=_MAX_CALLS,
                    name="utraced_calls",
                    flags=bpf.NO_PREALLOC,
                )
            ),
            narrow=self._keep(make(bpf.MAP_RINGBUF, key=0, value=0, entries=mmap.PAGESIZE, name="utraced_narrow")),
        )

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd
