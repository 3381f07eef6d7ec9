"""What it takes to have an attacher, which loads programs into the kernel for the workers."""

from __future__ import annotations

import os

from utraced.linux.capabilities import CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE

CAP_SETPCAP = 1 << 8
CAP_PERFMON, CAP_BPF = 1 << 38, 1 << 39
"""linux/include/uapi/linux/capability.h."""
NEEDED = CAP_BPF | CAP_PERFMON | CAP_SYS_PTRACE | CAP_SETUID | CAP_SETGID | CAP_SETPCAP
"""BPF: maps and programs.  PERFMON: programs that read the kernel's memory, at tracepoints.  SETUID, SETGID and
SETPCAP: to become a client when the kernel is asked; SYS_PTRACE: to ask as one that has it."""
VMLINUX = "/sys/kernel/btf/vmlinux"
"""Where the kernel tells its types (CONFIG_DEBUG_INFO_BTF)."""
CAPABILITIES = "it needs the capabilities BPF, PERFMON, SYS_PTRACE, SETUID, SETGID and SETPCAP"


def missing(capabilities: int) -> str | None:
    """Return why who has these capabilities cannot start an attacher on this kernel, None where he can."""
    if capabilities & NEEDED != NEEDED:
        return CAPABILITIES
    if not os.path.exists(VMLINUX):
        return f"this kernel does not tell its types ({VMLINUX})"
    return None
