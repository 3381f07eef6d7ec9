"""Register sets of stopped threads, laid out as python-ptrace knows them from <sys/user.h>."""

from __future__ import annotations

import ctypes
import struct

from utraced.arch.x86_64 import DEBUG_OFFSETS, NT_X86_XSTATE, XSTATE_SIZE
from utraced.errors import NoSuchProcess, Unsupported
from utraced.model import Hex

from . import ptrace

_WORDS = struct.Struct("<27Q")


def general(tid: int) -> dict[str, Hex]:
    """Return user_regs_struct by member name; raises NoSuchProcess where the thread is dying."""
    # Loaded when first used: python-ptrace takes 50 ms.
    from ptrace.binding.linux_struct import user_regs_struct

    registers = user_regs_struct()
    if not ptrace.attempt(ptrace.PTRACE_GETREGS, tid, 0, ctypes.addressof(registers)):
        raise _dying(tid)
    # Unpacked at once, all being words: a debugger asks for these at every stop, and field by field takes 10 µs.
    names = (field[0] for field in registers._fields_)
    return dict(zip(names, map(Hex, _WORDS.unpack(registers)), strict=True))


def floating_point(tid: int) -> dict[str, Hex]:
    """Return user_fpregs_struct by member name, arrays as ``st_space[0]`` (32-bit words); raises NoSuchProcess."""
    from ptrace.binding.linux_struct import user_fpregs_struct

    return _structure(tid, ptrace.PTRACE_GETFPREGS, user_fpregs_struct())


def extended(tid: int) -> bytes:
    """Return the XSAVE area (NT_X86_XSTATE); raises NoSuchProcess, and Unsupported where the CPU has none."""
    try:
        return ptrace.register_set(tid, NT_X86_XSTATE, XSTATE_SIZE)
    except ProcessLookupError:
        raise _dying(tid) from None
    except OSError as error:
        raise Unsupported(f"no xstate here: {error.strerror}", feature="registers.xstate") from error


def debug(tid: int) -> dict[str, Hex]:
    """Return the debug registers dr0 to dr7; raises NoSuchProcess."""
    try:
        return {name: Hex(ptrace.peek_user(tid, offset)) for name, offset in DEBUG_OFFSETS.items()}
    except ProcessLookupError:
        raise _dying(tid) from None


def _structure(tid: int, request: int, structure: ctypes.Structure) -> dict[str, Hex]:
    if not ptrace.attempt(request, tid, 0, ctypes.addressof(structure)):
        raise _dying(tid)
    values: dict[str, Hex] = {}
    for field in structure._fields_:
        name, value = field[0], getattr(structure, field[0])
        if isinstance(value, int):
            values[name] = Hex(value)
        else:
            values |= {f"{name}[{index}]": Hex(word & 0xFFFF_FFFF) for index, word in enumerate(value)}
    return values


def _dying(tid: int) -> NoSuchProcess:
    return NoSuchProcess(f"thread {tid} is dying", tid=tid)
