"""The signatures of system calls, one module for each family of them.

A family has ``SIGNATURES``, by name, and where 32-bit callers pass other arguments ``I386_SIGNATURES``.  A call in no
family is shown by what the kernel's tracepoints tell of its arguments.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from utraced.syscalls.basics import Address, Hex, Int, Mode, Path, Text, Unsigned, UnsignedLong
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature

if TYPE_CHECKING:
    from utraced.syscalls.abi import Abi

FAMILIES: tuple[str, ...] = (
    "opening",
    "io",
    "fcntl",
    "stat",
    "filesystem",
    "utimes",
    "events",
    "mapping",
    "polling",
    "ioctl",
    "exec",
    "processes",
    "cloning",
    "waiting",
    "signalling",
    "clocks",
    "futexes",
    "scheduling",
    "limits",
    "identity",
    "ptrace",
    "prctl",
    "seccomp",
    "network",
    "sockopt",
    "ipc",
)
"""Modules of this package; of two that sign the same call the later one holds."""

_GENERIC: dict[str, Kind] = {
    "a": Address(),
    "i": Int(),
    "p": Path(),
    "s": Text(),
    "u": Unsigned(),
    "l": UnsignedLong(),
    "m": Mode(),
    "x": Hex(),
}
_UNKNOWN = Signature(*[Hex()] * 6)


@cache
def signatures(abi: str) -> dict[str, Signature]:
    """Return the signatures of all families for the ABI named ``abi``."""
    found: dict[str, Signature] = {}
    for family in FAMILIES:
        module = import_module(f".{family}", __package__)
        found.update(module.SIGNATURES)
        if abi == "i386":
            found.update(getattr(module, "I386_SIGNATURES", {}))
    return found


def signature_of(name: str | None, abi: Abi) -> Signature:
    """Return the signature of the call ``name``; for None, and a call nothing is known of, six bare numbers."""
    if name is None:
        return _UNKNOWN
    name = name.partition("#")[0]
    return signatures(abi.name).get(name) or generic_signature(name)


def generic_signature(name: str) -> Signature:
    """Return what the kernel's tracepoints tell of the arguments of ``name``."""
    from utraced.syscalls.tables.arguments import ARGUMENTS

    letters = ARGUMENTS.get(name)
    return _UNKNOWN if letters is None else Signature(*(_GENERIC[letter] for letter in letters))
