"""The part of the programs that copies what arrays of pointers lead to: a program's arguments, scattered buffers."""

from __future__ import annotations

from utraced.syscalls.captures import LARGEST, RESULT

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
    forget,
    forget_place,
    read,
    read_string,
    room,
    store,
)
from .bpf_layout import (
    BUFFERS_ENTERED,
    BUFFERS_LEFT,
    INDIRECT,
    MESSAGE_ENTERED,
    MESSAGE_LEFT,
    MESSAGES,
    PLAN_STRINGS,
    PROGRAM_ARGUMENTS,
    Settings,
)

MOST_STRINGS = 48
MOST_BUFFERS = 16
MOST_MESSAGES = 8
_MOST_NAME = 128
"""sizeof(struct sockaddr_storage)."""
_LEFT = frozenset({BUFFERS_LEFT, MESSAGE_LEFT, INDIRECT, MESSAGES})
_ENTERED = frozenset({PROGRAM_ARGUMENTS, BUFFERS_ENTERED, MESSAGE_ENTERED, INDIRECT})
_HEADER_SIZE = 56
"""struct msghdr: name, its size, buffers, how many, control messages, their size (include/linux/socket.h)."""
_NARROW_HEADER_SIZE = 24
"""struct compat_msghdr, as far (include/net/compat.h)."""
_I386 = 1
"""As the record of a call says."""

# The stack, below what all captures use.
_HEADER, _SLOTS = -264, (-272, -280, -288, -296)
_NEXT, _REMAINING, _COUNTED = -304, -312, -320


def strings_of(program: Program, settings: Settings, *, leaving: bool) -> None:
    """Copy the strings of a program's arguments, or the buffers of an array of them."""
    name = "left " if leaving else ""
    special = settings.needs.special & (_LEFT if leaving else _ENTERED)
    if not settings.loops:  # a loop in a loop is too much for a verifier that follows each round
        special -= {MESSAGES}
    if not special:
        return
    program.ldx("u8", R1, R8, PLAN_STRINGS)
    program.jump("eq", R1, f"{name}no strings", value=0)
    for slot in (ADDRESS, SIZE, COUNT, REST):
        program.st("u64", FP, slot, 0)
    forget_place(program)
    program.set(R7, 0)
    forget(program, R7)  # as what is read there later
    for slot in (POINTER, POINTER + 8, _NEXT, _REMAINING, _COUNTED):
        program.stx("u64", FP, slot, R7)
    if leaving:
        program.ldx("u64", R2, FP, FAILED)
        program.jump("ne", R2, f"{name}no strings", value=0)
        program.ldx("u64", R2, R6, 8 * RESULT)
        program.stx("u64", FP, LEFT, R2)
    for kind in sorted(special):
        program.jump("eq", R1, f"{name}{kind}", value=kind)
    program.goto(f"{name}no strings")
    if PROGRAM_ARGUMENTS in special:
        program.label(f"{name}{PROGRAM_ARGUMENTS}")
        _arguments(program, settings, name)
    if INDIRECT in special:
        program.label(f"{name}{INDIRECT}")
        if leaving:
            _indirect(program, settings, f"{name}first ", PLAN_STRINGS + 5, PLAN_STRINGS + 6)
            program.ldx("u8", R2, R8, PLAN_STRINGS + 7)
            program.jump("eq", R2, f"{name}no strings", value=0)
            _indirect(program, settings, f"{name}second ", PLAN_STRINGS + 7, PLAN_STRINGS + 6)
        else:
            _indirect(program, settings, f"{name}first ", PLAN_STRINGS + 3, PLAN_STRINGS + 4)
        program.goto(f"{name}no strings")
    message, buffers = (MESSAGE_LEFT, BUFFERS_LEFT) if leaving else (MESSAGE_ENTERED, BUFFERS_ENTERED)
    several = MESSAGES in special
    end = f"{name}following" if several else f"{name}no strings"
    if several:
        _messages(program, name, one=message if message in special else None)
    elif message in special:
        program.label(f"{name}{message}")
        program.ldx("u8", R1, R8, PLAN_STRINGS + 1)
        argument(program, R3, R1)
    if several or message in special:
        _message(program, settings, name, f"{name}no strings")
    if buffers in special:
        if several or message in special:
            program.goto(f"{name}scattered")
        program.label(f"{name}{buffers}")
        _array(program)
    if several or special & {message, buffers}:
        program.label(f"{name}scattered")
        _buffers(program, settings, name, end, leaving=leaving)
    program.label(f"{name}no strings")


def _arguments(program: Program, settings: Settings, name: str) -> None:
    """Copy the strings of an array of pointers that ends with NULL."""
    program.ldx("u8", R2, R8, PLAN_STRINGS + 1)
    argument(program, R3, R2)
    program.stx("u64", FP, REST, R3)
    program.set(R8, 0)
    program.label(f"{name}next string")
    _again(program, settings, f"{name}no strings")
    program.jump("ge", R8, f"{name}no strings", value=min(settings.strings, MOST_STRINGS))
    room(program, f"{name}no strings")
    _element(program, 1, f"{name}pointer ", f"{name}no strings")
    program.ldx("u64", R3, FP, POINTER)
    program.jump("eq", R3, f"{name}no strings", value=0)
    program.stx("u64", FP, ADDRESS, R3)
    program.set(R4, settings.strings + 2)
    read_string(program, settings, f"{name}argument ", f"{name}unread string")
    store(program)
    program.label(f"{name}unread string")
    program.compute("add", R8, value=1)
    program.goto(f"{name}next string")


def _indirect(program: Program, settings: Settings, name: str, offset: int, most: int) -> None:
    """Copy what a pointer in memory leads to; ``offset`` and ``most`` are the plan's places of where and how long."""
    end = f"{name}followed"
    room(program, end)
    program.ldx("u8", R2, R8, PLAN_STRINGS + 1)
    argument(program, R3, R2)
    program.jump("eq", R3, end, value=0)
    program.ldx("u8", R2, R8, offset)
    program.compute("add", R3, source=R2)
    program.mov(R1, FP)
    program.compute("add", R1, value=POINTER)
    # Behind a pointer of 32 bits stands another member.
    program.set(R2, 8)
    program.call(PROBE_READ_USER)
    program.jump("ne", R0, end, value=0)
    program.ldx("u64", R3, FP, POINTER)
    program.ldx("u8", R2, R8, PLAN_STRINGS + 2)
    program.jump("eq", R2, f"{name}wide pointer", value=8)
    program.narrow(R3)
    program.label(f"{name}wide pointer")
    program.jump("eq", R3, end, value=0)
    program.stx("u64", FP, ADDRESS, R3)
    program.ldx("u8", R4, R8, most)
    program.jump("eq", R4, end, value=0)
    read(program, settings, f"{name}indirect ", end)
    program.set(R5, 0)
    store(program)
    program.label(end)


def _again(program: Program, settings: Settings, end: str) -> None:
    """Begin another round of a loop that R8 counts; where it can, the verifier does not follow each one."""
    if settings.loops:
        program.may_goto(end)
        forget(program, R8)


def _element(program: Program, words: int, name: str, failing: str) -> None:
    """Read the next one or two words of the array at ``REST`` to the stack, of a 32-bit caller as two of 64 bits."""
    wide, after = f"{name}wide", f"{name}words"
    program.ldx("u64", R3, FP, REST)
    program.mov(R1, FP)
    program.compute("add", R1, value=POINTER)
    _unless_narrow(program, wide)
    program.mov(R2, R3)
    program.compute("add", R2, value=4 * words)
    program.stx("u64", FP, REST, R2)
    program.set(R2, 4 * words)
    program.call(PROBE_READ_USER)
    program.jump("ne", R0, failing, value=0)
    for word in reversed(range(words)):  # the last one first, which stands where the first one ends
        program.ldx("u32", R2, FP, POINTER + 4 * word)
        forget(program, R2)  # how it was read is not to be known, so that both ways go on as one
        program.stx("u64", FP, POINTER + 8 * word, R2)
    program.goto(after)
    program.label(wide)
    program.mov(R2, R3)
    program.compute("add", R2, value=8 * words)
    program.stx("u64", FP, REST, R2)
    program.set(R2, 8 * words)
    program.call(PROBE_READ_USER)
    program.jump("ne", R0, failing, value=0)
    program.label(after)


def _unless_narrow(program: Program, wide: str) -> None:
    """Go to ``wide`` unless the caller makes a call of 32 bits; clobbers R2.

    The verifier is not to know afterwards which it was.
    """
    program.ldx("u32", R2, FP, ABI)
    forget(program, R2)
    program.jump("ne", R2, wide, value=_I386)


def _array(program: Program) -> None:
    """Note where an array of buffers is, and how many it has, as the arguments say."""
    program.ldx("u8", R2, R8, PLAN_STRINGS + 1)
    program.ldx("u8", R4, R8, PLAN_STRINGS + 2)
    argument(program, R3, R2)
    program.stx("u64", FP, REST, R3)
    argument(program, R3, R4)
    program.stx("u64", FP, COUNT, R3)


def _messages(program: Program, name: str, one: int | None) -> None:
    """Go through an array of ``struct mmsghdr``, or the ``one`` message of another kind: set R3 to where each is.

    Of each as many bytes are copied as it says have been moved.
    """
    end = f"{name}no strings"
    if one is not None:
        program.label(f"{name}{one}")
        program.ldx("u8", R2, R8, PLAN_STRINGS + 1)
        argument(program, R3, R2)
        _first(program, R3, 1, counted=False)
        program.goto(f"{name}following")
    program.label(f"{name}{MESSAGES}")
    program.ldx("u8", R2, R8, PLAN_STRINGS + 2)
    argument(program, R4, R2)
    program.narrow(R4)
    bound(program, R4, MOST_MESSAGES, f"{name}most messages")
    program.ldx("u8", R2, R8, PLAN_STRINGS + 1)
    argument(program, R3, R2)
    _first(program, R3, R4, counted=True)
    program.label(f"{name}following")
    program.may_goto(end)
    program.ldx("u64", R2, FP, _REMAINING)
    program.jump("eq", R2, end, value=0)
    program.compute("sub", R2, value=1)
    forget(program, R2)
    program.stx("u64", FP, _REMAINING, R2)
    room(program, end)
    program.ldx("u64", R3, FP, _NEXT)
    program.ldx("u64", R2, FP, _COUNTED)
    program.jump("eq", R2, f"{name}message", value=0)
    program.set(R4, 8 * 8)
    _unless_narrow(program, f"{name}slot")
    program.set(R4, 8 * 4)
    program.label(f"{name}slot")
    forget(program, R4)
    program.mov(R2, R3)
    program.compute("add", R2, source=R4)
    program.stx("u64", FP, _NEXT, R2)
    # The last word of each says how much of it has been moved.
    program.compute("rsh", R4, value=3)
    program.compute("sub", R2, source=R4)
    program.mov(R3, R2)
    program.mov(R1, FP)
    program.compute("add", R1, value=POINTER)
    program.set(R2, 4)
    program.stx("u64", FP, ADDRESS, R4)
    program.call(PROBE_READ_USER)
    program.jump("ne", R0, end, value=0)
    program.ldx("u32", R2, FP, POINTER)
    forget(program, R2)
    program.stx("u64", FP, LEFT, R2)
    # Back to where it begins: eight words before its end.
    program.ldx("u64", R4, FP, ADDRESS)
    program.compute("lsh", R4, value=3)
    program.ldx("u64", R3, FP, _NEXT)
    program.compute("sub", R3, source=R4)
    program.label(f"{name}message")
    forget(program, R3)


def _first(program: Program, address: int, count: int, *, counted: bool) -> None:
    """Note where the first of ``count`` messages is (a register, or 1), and whether each says its length."""
    program.stx("u64", FP, _NEXT, address)
    if count == 1:
        program.set(R2, 1)
    else:
        program.mov(R2, count)
    forget(program, R2)
    program.stx("u64", FP, _REMAINING, R2)
    program.set(R2, int(counted))
    forget(program, R2)
    program.stx("u64", FP, _COUNTED, R2)


def _message(program: Program, settings: Settings, name: str, end: str) -> None:
    """Copy the name and the control messages of the ``struct msghdr`` at R3, and note where its array of buffers is."""
    header, (name_at, name_size, control_at, control_size) = _HEADER, _SLOTS
    program.mov(R1, FP)
    program.compute("add", R1, value=header)
    places = (name_at, name_size, REST, COUNT, control_at, control_size)
    for word, size in ((4, _NARROW_HEADER_SIZE), (8, _HEADER_SIZE)):
        if word == 4:
            _unless_narrow(program, f"{name}wide header")
        else:
            program.label(f"{name}wide header")
        program.set(R2, size)
        program.call(PROBE_READ_USER)
        program.jump("ne", R0, end, value=0)
        for index, place in enumerate(places):
            program.ldx("u32" if word == 4 or index == 1 else "u64", R2, FP, header + word * index)
            forget(program, R2)
            program.stx("u64", FP, place, R2)
        if word == 4:
            program.goto(f"{name}header")
    program.label(f"{name}header")
    for place, size, unit, most in (
        (name_at, name_size, 1, _MOST_NAME),
        (control_at, control_size, 1, LARGEST),
        (REST, COUNT, 16, min(16 * settings.strings, LARGEST)),
    ):
        what = f"{name}{-place} "
        room(program, end)
        program.ldx("u64", R3, FP, place)
        forget(program, R3)
        program.jump("eq", R3, f"{what}after", value=0)
        program.stx("u64", FP, ADDRESS, R3)
        program.ldx("u64", R4, FP, size)
        forget(program, R4)  # what is found out of it is not to be known of where it came from
        program.jump("eq", R4, f"{what}after", value=0)
        bound(program, R4, most // unit, f"{what}size")
        if unit > 1:
            _unless_narrow(program, f"{what}wide")
            program.compute("mul", R4, value=unit // 2)
            program.goto(f"{what}units")
            program.label(f"{what}wide")
            program.compute("mul", R4, value=unit)
            program.label(f"{what}units")
            forget(program, R4)
        read(program, settings, what, f"{what}after")
        program.set(R5, 0)
        store(program)
        program.label(f"{what}after")
        for slot in (ADDRESS, SIZE):
            program.st("u64", FP, slot, 0)
        forget_place(program)
    room(program, end)


def _buffers(program: Program, settings: Settings, name: str, end: str, *, leaving: bool) -> None:
    """Copy the beginnings of the buffers of ``struct iovec``; of those read into, what the result says is there."""
    program.set(R8, 0)
    program.label(f"{name}next buffer")
    _again(program, settings, end)
    program.jump("ge", R8, end, value=min(settings.strings, MOST_BUFFERS))
    program.ldx("u64", R2, FP, COUNT)
    program.jump("ge", R8, end, source=R2)
    room(program, end)
    program.compute("add", R8, value=1)
    _element(program, 2, f"{name}vector ", end)
    program.ldx("u64", R3, FP, POINTER)
    program.ldx("u64", R4, FP, POINTER + 8)
    program.stx("u64", FP, ADDRESS, R3)
    if leaving:
        program.ldx("u64", R2, FP, LEFT)
        program.jump("le", R4, f"{name}filled", source=R2)
        program.mov(R4, R2)
        program.label(f"{name}filled")
        program.compute("sub", R2, source=R4)
        program.stx("u64", FP, LEFT, R2)
    program.jump("eq", R4, f"{name}next buffer", value=0)
    bound(program, R4, settings.strings, f"{name}shown")
    read(program, settings, f"{name}buffer ", f"{name}next buffer")
    program.set(R5, 0)
    store(program)
    program.goto(f"{name}next buffer")
