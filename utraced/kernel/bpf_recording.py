"""One trace in the kernel: its maps and programs, from loading to closing.

Nothing outlives its descriptors: when the process that holds them ends, in whatever way, nothing of it is left.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Mapping
from typing import NamedTuple

from . import bpf_calls as bpf
from .bpf_captures import SCRATCH_SIZE
from .bpf_layout import COUNTERS_SIZE, FAULTED_SIZE, PLAN_SIZE, PLANS, PROCESS, Guard, Maps, Offsets, Settings
from .bpf_programs import Code, programs

MAX_PROCESSES = 32_768
_MAX_FAULTED = 32_768
_KEY = struct.Struct("<I")


class Shared(NamedTuple):
    """The descriptors that whoever reads a trace may have: with them nothing can be changed but his own reading."""

    ring: int
    counters: int


class Recording:
    """The maps and programs of one trace; ``plans`` are those of the calls wanted, by their place in the table.

    They are loaded; nothing runs before ``attach``.  Raises OSError where the kernel refuses, and ``Refused``.
    """

    def __init__(
        self,
        offsets: Offsets,
        guard: Guard | None,
        settings: Settings,
        plans: Mapping[int, bytes],
        *,
        ring_size: int,
    ) -> None:
        self._fds: list[int] = []
        self._programs: list[int] = []
        try:
            self._maps = self._make_maps(ring_size)
            bpf.freeze(self._maps.counters)
            if plans:
                keys, values = b"".join(map(_KEY.pack, plans)), b"".join(plans.values())
                bpf.update_many(self._maps.plans, keys, values, len(plans))
            self._load(offsets, programs(offsets, guard, settings))
        except BaseException:
            self.close()
            raise

    @property
    def shared(self) -> Shared:
        """What may be given away; it stays ours to close."""
        return Shared(self._maps.ring, self._maps.counters)

    def attach(self) -> None:
        """Have the programs run from now on."""
        for program in self._programs:
            self._keep(bpf.attach(program))

    def add(self, pid: int, started_ns: tuple[int, int]) -> None:
        """Record process ``pid``, which started not before the first and before the second time (CLOCK_BOOTTIME)."""
        bpf.update(self._maps.processes, _KEY.pack(pid), PROCESS.pack(*started_ns))

    def remove(self, pid: int) -> bool:
        """Do not record process ``pid`` any more; tell whether it was."""
        return bpf.delete(self._maps.processes, _KEY.pack(pid))

    def close(self) -> None:
        """End the trace."""
        # The links first, which come last: nothing runs any more that would use the others.
        bpf.close(self._fds[::-1])
        self._fds.clear()

    def _load(self, offsets: Offsets, codes: tuple[Code, ...]) -> None:
        """Load the programs, each CPU its share: what the verifier does for one waits for no other."""
        waiting = sorted(codes, key=lambda one: len(one.code))
        loaded: dict[str, int] = {}
        failed: list[BaseException] = []

        def load() -> None:
            try:
                while waiting and not failed:
                    try:
                        one = waiting.pop()
                    except IndexError:
                        return  # another thread took it
                    loaded[one.tracepoint] = bpf.load_tracing(
                        one.code,
                        type_id=offsets.tracepoint(one.tracepoint),
                        name=f"utraced_{one.tracepoint}",
                        maps=self._maps,
                    )
            except BaseException as error:  # raised by who waits for all
                failed.append(error)

        others = [threading.Thread(target=load) for _ in range(min(len(codes), os.cpu_count() or 1) - 1)]
        for thread in others:
            thread.start()
        load()
        for thread in others:
            thread.join()
        self._programs = [self._keep(loaded[one.tracepoint]) for one in codes if one.tracepoint in loaded]
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
                    entries=_MAX_FAULTED,
                    name="utraced_faulted",
                    flags=bpf.NO_PREALLOC,
                )
            ),
            ring=self._keep(make(bpf.MAP_RINGBUF, key=0, value=0, entries=ring_size, name="utraced_ring")),
        )

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd
