"""Registers of held threads."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import Gone, NoSuchObject, NoSuchProcess, NotHeld
from utraced.model import Hex, Pid, Value
from utraced.rpc.method import Method

from .engine import EngineId

RegisterSet = Literal["general", "fp", "xstate", "debug"]


class Registers(Value, frozen=True):
    """Register sets by name, as in <sys/user.h>: ``general`` and ``debug`` as values, ``fp`` too, ``xstate`` raw."""

    general: dict[str, Hex] | None = None
    fp: dict[str, Hex] | None = None
    xstate: bytes | None = None
    debug: dict[str, Hex] | None = None


class Read(Method[Registers], frozen=True):
    """Read register sets of a thread that this engine holds."""

    method = "registers.read"
    errors = (NoSuchObject, Gone, NotHeld, NoSuchProcess)

    engine: EngineId
    tid: Pid
    set: Annotated[tuple[RegisterSet, ...], Meta(min_length=1, max_length=4)] = ("general",)
