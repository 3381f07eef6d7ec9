"""Register sets of stopped threads, laid out as python-ptrace knows them from <sys/user.h>."""

from __future__ import annotations

import ctypes
import struct
from functools import cache

from utraced.arch.x86_64 import DEBUG_OFFSETS, NT_X86_XSTATE, XSTATE_SIZE
from utraced.errors import NoSuchProcess, Unsupported
from utraced.model import Hex

from . import ptrace

FLOATING_POINT_SIZE = 512
_WORDS = struct.Struct("<27Q")


def general(tid: int) -> dict[str, Hex]:
    """Return user_regs_struct by member name; raises NoSuchProcess where the thread is dying."""
    # Loaded when first used: python-ptrace takes 50 ms.
    from ptrace.binding.linux_struct import user_regs_struct

    registers = user_regs_struct()
    if not ptrace.attempt(ptrace.PTRACE_GETREGS, tid, 0, ctypes.addressof(registers)):
        raise dying(tid)
    # Unpacked at once, all being words: a debugger asks for these at every stop, and field by field takes 10 µs.
    return dict(zip(_general_names(), map(Hex, _WORDS.unpack(registers)), strict=True))


@cache
def _general_names() -> tuple[str, ...]:
    from ptrace.binding.linux_struct import user_regs_struct

    return tuple(field[0] for field in user_regs_struct._fields_)


def floating_point(tid: int) -> dict[str, Hex]:
    """Return user_fpregs_struct by member name, arrays as ``st_space[0]`` (32-bit words); raises NoSuchProcess."""
    raw = floating_point_area(tid)
    places = floating_point_places()
    return {name: Hex(int.from_bytes(raw[at : at + size], "little")) for name, (at, size) in places.items()}


def floating_point_area(tid: int) -> bytes:
    """Return the raw user_fpregs_struct; raises NoSuchProcess."""
    area = ctypes.create_string_buffer(FLOATING_POINT_SIZE)
    if not ptrace.attempt(ptrace.PTRACE_GETFPREGS, tid, 0, ctypes.addressof(area)):
        raise dying(tid)
    return area.raw


@cache
def floating_point_places() -> dict[str, tuple[int, int]]:
    """Return offset and size of each member of user_fpregs_struct."""
    from ptrace.binding.linux_struct import user_fpregs_struct

    places: dict[str, tuple[int, int]] = {}
    for name, kind in user_fpregs_struct._fields_:
        at = getattr(user_fpregs_struct, name).offset
        if issubclass(kind, ctypes.Array):
            size = ctypes.sizeof(kind._type_)
            places |= {f"{name}[{index}]": (at + size * index, size) for index in range(kind._length_)}
        else:
            places[name] = (at, ctypes.sizeof(kind))
    return places


def extended(tid: int) -> bytes:
    """Return the XSAVE area (NT_X86_XSTATE); raises NoSuchProcess, and Unsupported where the CPU has none."""
    try:
        return ptrace.register_set(tid, NT_X86_XSTATE, XSTATE_SIZE)
    except ProcessLookupError:
        raise dying(tid) from None
    except OSError as error:
        raise Unsupported(f"no xstate here: {error.strerror}", feature="registers.xstate") from error


def debug(tid: int) -> dict[str, Hex]:
    """Return the debug registers dr0 to dr7; raises NoSuchProcess."""
    try:
        return {name: Hex(ptrace.peek_user(tid, offset)) for name, offset in DEBUG_OFFSETS.items()}
    except ProcessLookupError:
        raise dying(tid) from None


def dying(tid: int) -> NoSuchProcess:
    """Return the error for a thread that is being killed while we hold it."""
    return NoSuchProcess(f"thread {tid} is dying", tid=tid)
