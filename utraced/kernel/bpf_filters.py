"""The parts of the programs that tell only of calls that fail, or of those that name paths of some beginning.

Of a call that may turn out to be one, its entry leaves a mark for its thread: that the entry was told, or since when
the call lasts.  In the latter case its return tells the entry too, with what the arguments point to then: a call that
fails has changed nothing there.
"""

from __future__ import annotations

from collections.abc import Callable

from .bpf_assembler import FP, R0, R1, R2, R3, R4, R6, R7, R8, Program, Size
from .bpf_captures import failing
from .bpf_layout import COUNTER_DROPPED, COUNTER_ENTRIES, MAPS, PLAN_PATHS, RECORD
from .bpf_writing import (
    KEY,
    KTIME_GET_NS,
    MAP_DELETE,
    MAP_LOOKUP,
    MAP_UPDATE,
    PID_TGID,
    PROBE_READ_USER_STR,
    VALUE,
    Writer,
)

TOLD, DEFERRED = 1, 2

# The stack, below FP; above are those of captures, below those of small records.
PLAN, START, _STATE, _PATHS, _UNREAD, _MARK = -96, -104, -112, -120, -128, -144
_READ = RECORD + 1024
"""Where in the scratch space the beginnings of paths are read to: no record is there yet."""
_PARTS: tuple[tuple[Size, int], ...] = (("u64", 8), ("u32", 4), ("u16", 2), ("u8", 1))


class Filters(Writer):
    """Adds what is needed for the settings ``failed_only`` and ``prefix``."""

    @property
    def filtering(self) -> bool:
        """Whether not all calls are told that are wanted."""
        return self.settings.failed_only or bool(self.settings.prefix)

    def defer_entry(self, program: Program) -> None:
        """Leave a mark at a call's entry, for its return to tell it."""
        self._wants_path(program)
        self._mark(program, DEFERRED)

    def sift_entry(self, program: Program) -> None:
        """Go on at a call's entry only where it is to be told at once; the arguments are in the scratch space."""
        if not self.settings.prefix:
            return
        self._wants_path(program)
        self._match(program, "entry ", unread="entry unread")
        self._mark(program, TOLD)
        program.goto("entry told")
        program.label("entry unread")
        self._mark(program, DEFERRED)
        program.goto("out")
        program.label("entry told")

    def _wants_path(self, program: Program) -> None:
        """End where the call has no path, and one is asked for."""
        if self.settings.prefix:
            program.ldx("u32", R1, R8, PLAN_PATHS)
            program.jump("eq", R1, "out", value=0)

    def sift_exit(self, program: Program, tell_entry: Callable[[Program], None]) -> None:
        """Go on at a call's return only where it is to be told, after its entry where that is not yet.

        The latter does ``tell_entry``, which takes the program.
        """
        if not self.filtering:
            return
        program.stx("u32", FP, KEY, R7)
        self.map_call(program, MAPS.calls, MAP_LOOKUP)
        program.jump("ne", R0, "marked", value=0)
        if self.settings.prefix:
            program.goto("out")
        else:
            # One that had been entered already when the trace began.
            self._fails(program, "unmarked ")
            program.goto("told")
        program.label("marked")
        program.ldx("u64", R1, R0, 0)
        program.stx("u64", FP, START, R1)
        program.ldx("u64", R1, R0, 8)
        program.stx("u64", FP, _STATE, R1)
        self.map_call(program, MAPS.calls, MAP_DELETE)
        program.ldx("u64", R1, FP, _STATE)
        program.jump("eq", R1, "told", value=TOLD)
        if self.settings.failed_only:
            self._fails(program, "marked ")
        if self.settings.prefix:
            self._match(program, "exit ", unread="out")
        program.stx("u64", FP, PLAN, R8)
        tell_entry(program)
        program.ldx("u64", R8, FP, PLAN)
        program.call(PID_TGID)
        program.mov(R7, R0)
        program.label("told")

    def move_mark(self, program: Program) -> None:
        """Where a thread that is no leader has executed a program it has another id: R1 is the former one."""
        if not self.filtering:
            return
        program.stx("u32", FP, KEY, R1)
        program.mov(R2, R7)
        program.narrow(R2)
        program.jump32("eq", R1, "same id", source=R2)
        self.map_call(program, MAPS.calls, MAP_LOOKUP)
        program.jump("eq", R0, "same id", value=0)
        program.ldx("u64", R1, R0, 0)
        program.stx("u64", FP, _MARK, R1)
        program.ldx("u64", R1, R0, 8)
        program.stx("u64", FP, _MARK + 8, R1)
        self.map_call(program, MAPS.calls, MAP_DELETE)
        program.stx("u32", FP, KEY, R7)
        self._update(program)
        program.label("same id")

    def drop_mark(self, program: Program) -> None:
        """A thread ends, perhaps in a call."""
        if self.filtering:
            program.stx("u32", FP, KEY, R7)
            self.map_call(program, MAPS.calls, MAP_DELETE)

    def _mark(self, program: Program, state: int) -> None:
        """Leave a mark for the return of the call; without room for it the call is lost, and counted."""
        name = f"marked {len(program)}"
        program.call(KTIME_GET_NS)
        program.stx("u64", FP, _MARK, R0)
        program.st("u64", FP, _MARK + 8, state)
        program.stx("u32", FP, KEY, R7)
        self._update(program)
        program.jump("eq", R0, name, value=0)
        self.count(program, COUNTER_DROPPED, 1)
        self.count(program, COUNTER_ENTRIES, 1)
        program.goto("out")
        program.label(name)

    def _update(self, program: Program) -> None:
        program.load_map(R1, MAPS.calls)
        program.mov(R2, FP)
        program.compute("add", R2, value=KEY)
        program.mov(R3, FP)
        program.compute("add", R3, value=_MARK)
        program.set(R4, 0)
        program.call(MAP_UPDATE)

    def _fails(self, program: Program, name: str) -> None:
        """End where the call has not failed."""
        program.ldx("u64", R1, FP, VALUE + 8)
        program.ldx("u32", R2, FP, VALUE + 16)
        program.jump("ne", R2, f"{name}wide", value=1)
        # A 32-bit program's result may lack the upper half of its sign.
        program.compute("lsh", R1, value=32)
        program.compute("arsh", R1, value=32)
        program.label(f"{name}wide")
        failing(program, R1, "out")

    def _match(self, program: Program, name: str, *, unread: str) -> None:
        """Go on where a path among the arguments begins as asked for; ``unread``: where not all could be read."""
        prefix = self.settings.prefix
        program.ldx("u32", R1, R8, PLAN_PATHS)
        program.stx("u64", FP, _PATHS, R1)
        program.st("u64", FP, _UNREAD, 0)
        for index in sorted(self.settings.needs.paths):
            other = f"{name}{index} other"
            program.ldx("u64", R1, FP, _PATHS)
            program.compute("and", R1, value=1 << index)
            program.jump("eq", R1, other, value=0)
            program.ldx("u64", R3, R6, 8 * index)
            program.jump("eq", R3, other, value=0)
            program.mov(R1, R6)
            program.compute("add", R1, value=_READ)
            program.set(R2, len(prefix) + 1)
            program.call(PROBE_READ_USER_STR)
            program.jump("sgt", R0, f"{name}{index} read", value=0)
            program.st("u64", FP, _UNREAD, 1)
            program.goto(other)
            program.label(f"{name}{index} read")
            # What stands behind the end of a shorter one is of no matter: its NUL differs.
            at = 0
            for size, width in _PARTS:
                while len(prefix) - at >= width:
                    program.ldx(size, R1, R6, _READ + at)
                    program.load(R2, int.from_bytes(prefix[at : at + width], "little"))
                    program.jump("ne", R1, other, source=R2)
                    at += width
            program.goto(f"{name}matches")
            program.label(other)
        program.ldx("u64", R1, FP, _UNREAD)
        program.jump("ne", R1, unread, value=0)
        program.goto("out")
        program.label(f"{name}matches")
