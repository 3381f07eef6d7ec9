"""The part of an entry's program that copies the caller's stack into its record.

The kernel follows frame pointers (perf_callchain_user in arch/x86/events/core.c): a function that keeps none hides its
caller, and code that uses the register for something else ends the stack early.
"""

from __future__ import annotations

from utraced.api import call_records as records
from utraced.observing.stack import MOST_FRAMES

from .bpf_assembler import R0, R1, R2, R3, R4, R6, R9, Program
from .bpf_writing import CURRENT_TASK_BTF

GET_TASK_STACK = 141
_USER_STACK = 1 << 8
"""BPF_F_USER_STACK (include/uapi/linux/bpf.h)."""


def stack(program: Program, at: int) -> None:
    """Put a fragment with the stack of the current thread at ``at`` of the scratch space R6; R9 is what comes next."""
    start = at + records.FRAGMENT.size
    program.set(R9, at)
    program.call(CURRENT_TASK_BTF)
    program.mov(R1, R0)
    program.mov(R2, R6)
    program.compute("add", R2, value=start)
    program.set(R3, 8 * MOST_FRAMES)
    program.set(R4, _USER_STACK)
    program.call(GET_TASK_STACK)
    program.jump("sle", R0, "no stack", value=0)
    program.load(R1, records.NOWHERE)
    program.stx("u64", R6, at, R1)
    program.stx("u32", R6, at + 8, R0)
    program.st("u32", R6, at + 12, records.STACK)
    program.mov(R9, R0)
    program.compute("add", R9, value=start)
    program.label("no stack")
