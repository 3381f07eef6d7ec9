"""x86-64, and the 32-bit programs it runs."""

from __future__ import annotations

NT_X86_XSTATE = 0x202
XSTATE_SIZE = 16_384
"""More than any XSAVE area so far (AMX has 11,008 bytes); the kernel tells how much it filled."""

_DEBUG = 848
"""offsetof(struct user, u_debugreg), <sys/user.h>."""
DEBUG_OFFSETS = {f"dr{number}": _DEBUG + 8 * number for number in (0, 1, 2, 3, 6, 7)}

USER32_CS = 0x23
"""The code segment of 32-bit mode, linux/arch/x86/include/asm/segment.h."""
TRAP_FLAG = 0x100
"""TF of eflags: a trap after each instruction."""

NR_PERF_EVENT_OPEN = 298
NR_BPF = 321
"""linux/arch/x86/entry/syscalls/syscall_64.tbl; the C library has no functions for these calls."""
