"""Registers of held threads."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import Gone, NoSuchObject, NoSuchProcess, NotHeld, Unsupported
from utraced.model import Hex, Pid, Value
from utraced.rpc.method import Method

from .engine import EngineId

RegisterSet = Literal["general", "fp", "xstate", "debug"]


class Registers(Value, frozen=True):
    """Register sets, registers by their names in <sys/user.h>.

    ``general``: user_regs_struct.  ``fp``: user_fpregs_struct, arrays in 32-bit words as ``st_space[0]``.
    ``xstate``: the XSAVE area as the CPU lays it out.  ``debug``: dr0 to dr7.
    """

    general: dict[str, Hex] | None = None
    fp: dict[str, Hex] | None = None
    xstate: bytes | None = None
    debug: dict[str, Hex] | None = None


class Read(Method[Registers], frozen=True):
    """Read register sets of a thread that this engine holds.

    ``engine``: of this session.  ``tid``: the thread.  ``set``: which sets.
    """

    method = "registers.read"
    errors = (NoSuchObject, Gone, NotHeld, NoSuchProcess, Unsupported)

    engine: EngineId
    tid: Pid
    set: Annotated[tuple[RegisterSet, ...], Meta(min_length=1, max_length=4)] = ("general",)
