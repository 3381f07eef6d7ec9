"""Registers of held threads."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import Contended, Gone, NoSuchObject, NoSuchProcess, NotHeld, Unsupported
from utraced.model import Empty, Hex, Pid, Value
from utraced.rpc.method import Method

from .engine import EngineId

RegisterSet = Literal["general", "fp", "xstate", "debug"]
Named = Annotated[dict[str, Hex], Meta(max_length=200)]
"""Values by the names that ``registers.read`` gives."""


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


class Write(Method[Empty], frozen=True):
    """Write registers of a thread that this engine holds, and no other: those named, or where one is refused none.

    ``engine``: of this session.  ``tid``: the thread.  ``general``, ``fp``: values by the names that
    ``registers.read`` gives.  ``xstate``: instead of ``fp``, the whole area, as long as it is read.  ``debug``: dr6,
    and addresses that dr7 does not use; dr7 can only be cleared, as what it arms would outlive the engine and its trap
    kill the process.

    What the kernel would drop or cut is ``invalid_params``, naming the member.  A new ``rip`` without ``orig_rax``
    makes that -1, as debuggers do: else the kernel, about to restart an interrupted call, would take 2 off ``rip``.
    At the entry of a call -1 skips the call; name ``orig_rax`` to keep it.  Writing back all that was read, in a later
    stop, has the call restarted as if nothing had been.
    """

    method = "registers.write"
    access = "changes"
    errors = (NoSuchObject, Gone, NotHeld, Contended, NoSuchProcess, Unsupported)

    engine: EngineId
    tid: Pid
    general: Named | None = None
    fp: Named | None = None
    xstate: Annotated[bytes, Meta(min_length=1, max_length=16_384)] | None = None
    debug: Named | None = None
