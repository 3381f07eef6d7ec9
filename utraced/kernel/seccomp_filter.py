"""The seccomp filter of a trace: classic BPF that has its calls stop for the tracer, and lets all others be.

It looks at nothing but the architecture and the number, so that the kernel finds out beforehand which calls pass, and
does not run it for those (seccomp_cache_prepare, kernel/seccomp.c).  seccomp(2), Documentation/networking/filter.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from utraced.observing.selection import Selection
from utraced.syscalls.abi import AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, X32_SYSCALL_BIT, from_audit

RET_ALLOW = 0x7FFF0000
RET_TRACE = 0x7FF00000
"""linux/include/uapi/linux/seccomp.h."""
MOST = 4096
"""Instructions of a filter (BPF_MAXINSNS)."""

LOAD, JUMP, EQUAL, AT_LEAST, RETURN = 0x20, 0x05, 0x15, 0x35, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JA, |BPF_JEQ, |BPF_JGE, BPF_RET|BPF_K."""
AT_NUMBER, AT_ARCH = 0, 4
"""Offsets in struct seccomp_data."""
FARTHEST = 255
"""Instructions that a conditional jump can skip."""

_INSTRUCTION = struct.Struct("<HBBI")
_NUMBERS = 1 << 32
_NEGATIVE = 1 << 31

Instruction = tuple[int, int, int, int]
"""struct sock_filter: what to do, how many to skip where a condition holds and where not, and a number."""


def assemble(selection: Selection) -> bytes:
    """Return the filter: for the calls of ``selection``, by any ABI, the tracer is told.

    Raises ValueError where it would be longer than the kernel takes.
    """
    wide = _choose(_runs(selection, AUDIT_ARCH_X86_64, ("x86_64", "x32")))
    narrow = _choose(_runs(selection, AUDIT_ARCH_I386, ("i386",)))
    program: list[Instruction] = [
        (LOAD, 0, 0, AT_ARCH),
        (EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        (JUMP, 0, 0, 1 + len(wide)),
        (LOAD, 0, 0, AT_NUMBER),
        *wide,
        (EQUAL, 1, 0, AUDIT_ARCH_I386),
        (RETURN, 0, 0, RET_ALLOW),
        (LOAD, 0, 0, AT_NUMBER),
        *narrow,
    ]
    if len(program) > MOST:
        raise ValueError(f"a filter of {len(program)} instructions: the kernel takes {MOST}")
    return b"".join(_INSTRUCTION.pack(*one) for one in program)


def _runs(selection: Selection, arch: int, abis: Iterable[str]) -> list[tuple[int, bool]]:
    """Return where runs of numbers begin that are all wanted or all not, from 0 on, and which."""
    edges = {0, X32_SYSCALL_BIT, _NEGATIVE}
    for abi in abis:
        for number in selection.calls.numbers[abi]:
            edges |= {number, number + 1}
    wants = _wants(selection, arch)
    runs: list[tuple[int, bool]] = []
    for edge in sorted(edge for edge in edges if 0 <= edge < _NUMBERS):
        wanted = wants(edge)
        if not runs or runs[-1][1] is not wanted:
            runs.append((edge, wanted))
    return runs


def _wants(selection: Selection, arch: int) -> Callable[[int], bool]:
    """Return what tells whether a call is wanted by seccomp's number for it: 32 bits, where ptrace tells a sign."""

    def wanted(number: int) -> bool:
        told = number if number < _NEGATIVE else number - _NUMBERS + (1 << 64)
        return selection.wants(from_audit(arch, told), told)

    return wanted


def _choose(runs: list[tuple[int, bool]]) -> list[Instruction]:
    """Return instructions that search for the run that the number is in, by halves."""
    if len(runs) == 1:
        return [(RETURN, 0, 0, RET_TRACE if runs[0][1] else RET_ALLOW)]
    middle = len(runs) // 2
    lower, upper = _choose(runs[:middle]), _choose(runs[middle:])
    if len(lower) <= FARTHEST:
        return [(AT_LEAST, len(lower), 0, runs[middle][0]), *lower, *upper]
    return [(AT_LEAST, 0, 1, runs[middle][0]), (JUMP, 0, 0, len(lower)), *lower, *upper]
