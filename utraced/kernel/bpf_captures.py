"""The part of the programs that copies memory of the caller behind a record, as the call's plan says.

R6 is the scratch space, with the arguments at its beginning; R8 the plan; R9 where in the scratch space the record
ends.
"""

from __future__ import annotations

from typing import Literal

from utraced.api import call_records as records
from utraced.syscalls.captures import CONSTANT, LARGEST, RESULT

from .bpf_assembler import FP, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Program
from .bpf_layout import (
    BYTES,
    COUNTER_FAULTS,
    MAPS,
    ON_FAILURE,
    OPERATION_SIZE,
    PLAN_ENTERED,
    PLAN_LEFT,
    STRING,
    Settings,
)

MAP_UPDATE = 2
PROBE_READ_USER, PROBE_READ_USER_STR = 112, 114
_MOST_ERRNO = 4095
_PAGE = 4096
_MOST_COUNT = 65_536
SPACE = 4 * LARGEST
"""Bytes of the scratch space within which another capture may begin."""
SCRATCH_SIZE = SPACE + 2 * 65_536 + 128
SPACE_BEFORE = SCRATCH_SIZE - 128
_HEAD = records.FRAGMENT.size

# The stack, below FP; above are the key and what the caller keeps.
ABI, _LATE_MASK, LEFT = -16, -32, -32
ADDRESS, SIZE, COUNT, FAILED, POINTER, REST = -40, -48, -56, -64, -80, -88

_BYTES, _FEW = -208, 32
"""There too, below all others': bytes on their way."""

_UNTRACKED, _FAULTS = 64, 72
"""In the scratch space, behind result and stack pointer: the verifier follows no values there."""

Moment = Literal["entered", "left", "late", "deferred"]


def largest(strings: int) -> int:
    """Return the most bytes of one capture, where ``strings`` of each string are asked for."""
    return max(LARGEST, strings + 2)


def captures(program: Program, settings: Settings, moment: Moment) -> None:
    """Copy what the plan names for a moment.

    ``late``: what the mask on the stack says was not there at the entry; ``deferred``: what is of the entry, at the
    return.
    """
    base, kinds = (PLAN_LEFT, settings.needs.left) if moment == "left" else (PLAN_ENTERED, settings.needs.entered)
    done = f"{moment} captured"
    if moment == "entered":
        program.st("u64", R6, _FAULTS, 0)
    if moment == "left":
        _note_failure(program, moment)
    for index, some in enumerate(kinds):
        _capture(program, settings, moment, base + index * OPERATION_SIZE, index, some, done)
    program.label(done)
    if moment == "entered":
        _remember_faults(program)


def failing(program: Program, result: int, good: str) -> None:
    """Go to ``good`` where a result is no error (IS_ERR_VALUE in include/linux/err.h); clobbers R2."""
    program.set(R2, -_MOST_ERRNO)
    program.jump("lt", result, good, source=R2)


def _note_failure(program: Program, moment: str) -> None:
    """Keep whether the call has failed."""
    program.set(R3, 0)
    program.ldx("u64", R1, R6, 8 * RESULT)
    failing(program, R1, f"{moment} good")
    program.set(R3, 1)
    program.label(f"{moment} good")
    forget(program, R3)
    program.stx("u64", FP, FAILED, R3)


def _capture(  # noqa: PLR0913, PLR0917 - one operation's place in its plan
    program: Program, settings: Settings, moment: Moment, at: int, index: int, kinds: frozenset[int], done: str
) -> None:
    """Copy what the operation at ``at`` of the plan names."""
    name = f"{moment} {index} "
    after = f"{name}after"
    program.ldx("u8", R1, R8, at)
    program.jump("eq", R1, done, value=0)
    room(program, done)
    if moment == "late":
        program.ldx("u64", R2, FP, _LATE_MASK)
        program.compute("and", R2, value=1 << index)
        program.jump("eq", R2, after, value=0)
    if moment == "left":
        program.ldx("u64", R2, FP, FAILED)
        program.jump("eq", R2, f"{name}wanted", value=0)
        program.ldx("u8", R2, R8, at + 3)
        program.compute("and", R2, value=ON_FAILURE)
        program.jump("eq", R2, after, value=0)
        program.label(f"{name}wanted")
    program.ldx("u8", R2, R8, at + 1)
    argument(program, R3, R2)
    program.jump("eq", R3, after, value=0)
    program.ldx("u32", R2, R8, at + 12)
    program.compute("add", R3, source=R2)
    program.stx("u64", FP, ADDRESS, R3)
    if BYTES in kinds:
        if STRING in kinds:
            program.jump("eq", R1, f"{name}string", value=STRING)
        _length(program, at, name)
        program.jump("eq", R4, after, value=0)
        read(program, settings, name, f"{name}fault", few=moment in {"entered", "left"})
        program.set(R5, records.AT_ENTRY if moment == "late" else 0)
        if STRING in kinds:
            program.goto(f"{name}store")
    if STRING in kinds:
        program.label(f"{name}string")
        program.ldx("u32", R4, R8, at + 8)
        read_string(program, settings, name, f"{name}fault", late=moment == "late")
    program.label(f"{name}store")
    store(program)
    if moment == "entered":
        program.goto(after)
        program.label(f"{name}fault")
        program.ldx("u64", R1, R6, _FAULTS)
        program.compute("or", R1, value=1 << index)
        program.stx("u64", R6, _FAULTS, R1)
    else:
        program.label(f"{name}fault")
    program.label(after)


def argument(program: Program, target: int, index: int) -> None:
    """Set ``target`` to the argument, or the result, that the register ``index`` numbers."""
    program.compute("and", index, value=7)
    program.compute("lsh", index, value=3)
    program.mov(target, R6)
    program.compute("add", target, source=index)
    program.ldx("u64", target, target, 0)


def _length(program: Program, at: int, name: str) -> None:
    """Set R4 to the bytes that an operation asks for, at most what it allows."""
    program.ldx("u32", R4, R8, at + 4)
    program.ldx("u8", R2, R8, at + 2)
    program.jump("eq", R2, f"{name}clip", value=CONSTANT)
    program.mov(R5, R4)
    argument(program, R4, R2)
    program.jump("le", R4, f"{name}small", value=_MOST_COUNT)
    program.set(R4, _MOST_COUNT)
    program.label(f"{name}small")
    program.jump("ne", R5, f"{name}units", value=0)
    program.compute("add", R4, value=63)
    program.compute("rsh", R4, value=6)
    program.set(R5, 8)
    program.label(f"{name}units")
    program.compute("mul", R4, source=R5)
    program.label(f"{name}clip")
    program.ldx("u32", R5, R8, at + 8)
    program.jump("le", R4, f"{name}clipped", source=R5)
    program.mov(R4, R5)
    program.label(f"{name}clipped")


def _read_few(program: Program, name: str) -> None:
    """Read R4 bytes of the caller by way of the stack, where they are few, and go to where they have been read.

    Of what is copied to a map the kernel looks long whether it may be (check_object_size in mm/usercopy.c).
    """
    program.jump("gt", R4, f"{name}many", value=_FEW)
    program.stx("u64", FP, SIZE, R4)
    for place in range(0, _FEW, 8):
        program.st("u64", FP, _BYTES + place, 0)
    program.mov(R1, FP)
    program.compute("add", R1, value=_BYTES)
    program.mov(R2, R4)
    program.ldx("u64", R3, FP, ADDRESS)
    program.call(PROBE_READ_USER)
    program.ldx("u64", R4, FP, SIZE)
    program.jump("ne", R0, f"{name}many", value=0)
    _destination(program)
    for place in range(0, _FEW, 8):
        program.ldx("u64", R2, FP, _BYTES + place)
        program.stx("u64", R1, place, R2)
    program.goto(f"{name}read")
    program.label(f"{name}many")


def read(program: Program, settings: Settings, name: str, failing: str, *, few: bool = False) -> None:
    """Read R4 bytes of the caller behind the record; leaves the size on the stack.  ``few``: they often are."""
    if few:
        _read_few(program, name)
    bound(program, R4, largest(settings.strings), f"{name}bound")
    program.stx("u64", FP, SIZE, R4)
    _destination(program)
    program.mov(R2, R4)
    program.ldx("u64", R3, FP, ADDRESS)
    program.call(PROBE_READ_USER)
    program.jump("eq", R0, f"{name}read", value=0)
    # As far as its page goes: what lies behind may be no memory.
    program.ldx("u64", R3, FP, ADDRESS)
    program.mov(R2, R3)
    program.compute("and", R2, value=_PAGE - 1)
    program.set(R4, _PAGE)
    program.compute("sub", R4, source=R2)
    program.ldx("u64", R2, FP, SIZE)
    program.jump("ge", R4, failing, source=R2)
    bound(program, R4, _PAGE, f"{name}page")
    program.stx("u64", FP, SIZE, R4)
    _destination(program)
    program.mov(R2, R4)
    program.call(PROBE_READ_USER)
    program.jump("ne", R0, failing, value=0)
    program.label(f"{name}read")


def read_string(program: Program, settings: Settings, name: str, failing: str, *, late: bool = False) -> None:
    """Read a string of at most R4 bytes, its NUL among them; leaves size and, in R5, flags."""
    bound(program, R4, largest(settings.strings), f"{name}most")
    program.stx("u64", FP, SIZE, R4)
    _destination(program)
    program.mov(R2, R4)
    program.ldx("u64", R3, FP, ADDRESS)
    program.call(PROBE_READ_USER_STR)
    program.jump("sle", R0, failing, value=0)
    bound(program, R0, largest(settings.strings), f"{name}length")
    program.set(R5, records.ENDED | (records.AT_ENTRY if late else 0))
    program.ldx("u64", R4, FP, SIZE)
    program.jump("lt", R0, f"{name}ended", source=R4)
    program.set(R5, records.AT_ENTRY if late else 0)
    program.label(f"{name}ended")
    program.compute("sub", R0, value=1)
    program.stx("u64", FP, SIZE, R0)


def room(program: Program, full: str) -> None:
    """Go to ``full`` where no room is left for another capture."""
    program.jump("gt", R9, full, value=SPACE)


def bound(program: Program, register: int, most: int, name: str) -> None:
    """Let the verifier see that a register is at most ``most``."""
    program.jump("le", register, name, value=most)
    program.set(register, most)
    program.label(name)


def _destination(program: Program) -> None:
    """Set R1 to where the bytes of the next fragment go."""
    program.mov(R1, R6)
    program.compute("add", R1, source=R9)
    program.compute("add", R1, value=_HEAD)


def store(program: Program) -> None:
    """Write the head of the fragment that has been read, and move R9 behind it."""
    program.mov(R1, R6)
    program.compute("add", R1, source=R9)
    program.ldx("u64", R2, FP, ADDRESS)
    program.stx("u64", R1, 0, R2)
    program.ldx("u64", R2, FP, SIZE)
    program.stx("u32", R1, 8, R2)
    program.stx("u32", R1, 12, R5)
    program.compute("add", R2, value=7)
    program.compute("and", R2, value=0x3FFF8)
    program.compute("add", R9, source=R2)
    program.compute("add", R9, value=_HEAD)
    forget_place(program)


def forget_place(program: Program) -> None:
    """Do as ``forget`` with R9."""
    forget(program, R9)


def forget(program: Program, register: int) -> None:
    """Send a register by way of memory that the verifier does not follow.

    All that comes here looks the same to it from now on, and it need not follow each way on its own.
    """
    program.stx("u64", R6, _UNTRACKED, register)
    program.ldx("u64", register, R6, _UNTRACKED)


def _remember_faults(program: Program) -> None:
    """Note for the return of the call what could not be read."""
    program.ldx("u64", R1, R6, _FAULTS)
    program.jump("eq", R1, "all read", value=0)
    program.stx("u32", FP, POINTER, R7)
    program.load_map(R1, MAPS.faulted)
    program.mov(R2, FP)
    program.compute("add", R2, value=POINTER)
    program.mov(R3, R6)
    program.compute("add", R3, value=_FAULTS)
    program.set(R4, 0)
    program.call(MAP_UPDATE)
    program.load_value(R1, MAPS.counters, COUNTER_FAULTS)
    program.set(R2, 1)
    program.add_atomic("u64", R1, 0, R2)
    program.label("all read")
