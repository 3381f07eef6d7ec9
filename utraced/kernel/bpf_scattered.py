"""The part of the programs that copies what arrays of pointers lead to: a program's arguments, scattered buffers."""

from __future__ import annotations

from utraced.syscalls.captures import RESULT

from .bpf_assembler import FP, R0, R1, R2, R3, R4, R5, R6, R7, R8, Program
from .bpf_captures import (
    ABI,
    ADDRESS,
    COUNT,
    FAILED,
    LEFT,
    POINTER,
    PROBE_READ_USER,
    REST,
    SIZE,
    argument,
    bound,
    forget_place,
    read,
    read_string,
    room,
    store,
)
from .bpf_layout import BUFFERS_ENTERED, BUFFERS_LEFT, PLAN_STRINGS, PROGRAM_ARGUMENTS, Settings

MOST_STRINGS = 48
MOST_BUFFERS = 16


def strings_of(program: Program, settings: Settings, *, leaving: bool) -> None:
    """Copy the strings of a program's arguments, or the buffers of an array of them."""
    name = "left " if leaving else ""
    special = settings.needs.special & ({BUFFERS_LEFT} if leaving else {BUFFERS_ENTERED, PROGRAM_ARGUMENTS})
    if not special:
        return
    program.ldx("u8", R1, R8, PLAN_STRINGS)
    program.jump("eq", R1, f"{name}no strings", value=0)
    for slot in (ADDRESS, SIZE, COUNT, POINTER, POINTER + 8, REST):
        program.st("u64", FP, slot, 0)
    forget_place(program)
    program.set(R7, 0)
    if leaving:
        program.jump("ne", R1, f"{name}no strings", value=BUFFERS_LEFT)
        program.ldx("u64", R2, FP, FAILED)
        program.jump("ne", R2, f"{name}no strings", value=0)
        program.ldx("u64", R2, R6, 8 * RESULT)
        program.stx("u64", FP, LEFT, R2)
        _buffers(program, settings, name, leaving=True)
    else:
        if BUFFERS_ENTERED in special:
            program.jump("eq", R1, f"{name}buffers", value=BUFFERS_ENTERED)
        if PROGRAM_ARGUMENTS in special:
            program.jump("ne", R1, f"{name}no strings", value=PROGRAM_ARGUMENTS)
            _arguments(program, settings, name)
        if BUFFERS_ENTERED in special:
            program.label(f"{name}buffers")
            _buffers(program, settings, name, leaving=False)
    program.label(f"{name}no strings")


def _arguments(program: Program, settings: Settings, name: str) -> None:
    """Copy the strings of an array of pointers that ends with NULL."""
    program.ldx("u32", R2, FP, ABI)
    program.jump("eq", R2, f"{name}no strings", value=1)  # a 32-bit caller's are narrower: shown as pointers
    program.ldx("u8", R2, R8, PLAN_STRINGS + 1)
    argument(program, R3, R2)
    program.stx("u64", FP, REST, R3)
    program.set(R8, 0)
    program.label(f"{name}next string")
    program.jump("ge", R8, f"{name}no strings", value=min(settings.strings, MOST_STRINGS))
    room(program, f"{name}no strings")
    _pointer(program, 8, f"{name}no strings")
    program.ldx("u64", R3, FP, POINTER)
    program.jump("eq", R3, f"{name}no strings", value=0)
    program.stx("u64", FP, ADDRESS, R3)
    program.set(R4, settings.strings + 2)
    read_string(program, settings, f"{name}argument ", f"{name}unread string")
    store(program)
    program.label(f"{name}unread string")
    program.compute("add", R8, value=1)
    program.goto(f"{name}next string")


def _pointer(program: Program, size: int, failing: str) -> None:
    """Read the next ``size`` bytes of the array at ``REST`` to the stack."""
    program.ldx("u64", R3, FP, REST)
    program.mov(R1, R3)
    program.compute("add", R1, value=size)
    program.stx("u64", FP, REST, R1)
    program.mov(R1, FP)
    program.compute("add", R1, value=POINTER)
    program.set(R2, size)
    program.call(PROBE_READ_USER)
    program.jump("ne", R0, failing, value=0)


def _buffers(program: Program, settings: Settings, name: str, *, leaving: bool) -> None:
    """Copy the beginnings of the buffers of ``struct iovec``; of those read into, what the result says is there."""
    program.ldx("u32", R2, FP, ABI)
    program.jump("eq", R2, f"{name}no strings", value=1)  # a 32-bit caller's are narrower: shown as pointers
    program.ldx("u8", R2, R8, PLAN_STRINGS + 1)
    program.ldx("u8", R4, R8, PLAN_STRINGS + 2)
    argument(program, R3, R2)
    program.stx("u64", FP, REST, R3)
    argument(program, R3, R4)
    program.stx("u64", FP, COUNT, R3)
    program.set(R8, 0)
    program.label(f"{name}next buffer")
    program.jump("ge", R8, f"{name}no strings", value=min(settings.strings, MOST_BUFFERS))
    program.ldx("u64", R2, FP, COUNT)
    program.jump("ge", R8, f"{name}no strings", source=R2)
    room(program, f"{name}no strings")
    program.compute("add", R8, value=1)
    _pointer(program, 16, f"{name}no strings")
    program.ldx("u64", R4, FP, POINTER + 8)
    if leaving:
        program.ldx("u64", R2, FP, LEFT)
        program.jump("le", R4, f"{name}filled", source=R2)
        program.mov(R4, R2)
        program.label(f"{name}filled")
        program.compute("sub", R2, source=R4)
        program.stx("u64", FP, LEFT, R2)
    program.ldx("u64", R3, FP, POINTER)
    program.stx("u64", FP, ADDRESS, R3)
    program.jump("eq", R4, f"{name}next buffer", value=0)
    bound(program, R4, settings.strings, f"{name}shown")
    read(program, settings, f"{name}buffer ", f"{name}next buffer")
    program.set(R5, 0)
    store(program)
    program.goto(f"{name}next buffer")
