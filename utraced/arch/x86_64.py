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

RAX = 80
ORIG_RAX = 120
RIP = 128
"""Offsets in user_regs_struct, with which struct user begins."""
ARGUMENTS = {
    "x86_64": (112, 104, 96, 56, 72, 64),
    "i386": (40, 88, 96, 104, 112, 32),
}
"""Where a call's arguments are (syscall(2)): rdi, rsi, rdx, r10, r8, r9; ebx, ecx, edx, esi, edi, ebp."""
ARGUMENTS["x32"] = ARGUMENTS["x86_64"]

_PREFIXES = frozenset({0x26, 0x2E, 0x36, 0x3E, *range(0x40, 0x50), 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3})
_CALLS = frozenset({b"\x0f\x05", b"\x0f\x34", b"\xcd\x80"})
LONGEST = 15
"""Bytes of the longest instruction."""
CALL_SIZE = 2
"""Bytes of syscall and of int 0x80; from sysenter the kernel returns behind an int 0x80 (arch/x86/entry/vdso)."""


def makes_call(code: bytes) -> bool:
    """Tell whether the instruction at the head of ``code`` is a system call: syscall, sysenter, int 0x80."""
    at = 0
    while at < len(code) and code[at] in _PREFIXES:
        at += 1
    return code[at : at + 2] in _CALLS


PT_ARGUMENTS = ("di", "si", "dx", "r10", "r8", "r9")
PT_ARGUMENTS_32 = ("bx", "cx", "dx", "si", "di", "bp")
"""The registers of ``struct pt_regs`` that hold a system call's arguments, and those of a 32-bit call."""
PT_CALL_NUMBER = "orig_ax"
PT_INSTRUCTION_POINTER = "ip"
PT_STACK_POINTER = "sp"
PT_REGISTERS = frozenset({*PT_ARGUMENTS, *PT_ARGUMENTS_32, PT_CALL_NUMBER, PT_INSTRUCTION_POINTER, PT_STACK_POINTER})
CLONE3 = 435
