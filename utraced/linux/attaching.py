"""What it takes to have an attacher, which has the kernel record for the workers: by programs, or by events."""

from __future__ import annotations

import os

from msgspec import Struct

from utraced.linux.capabilities import CAP_IPC_LOCK, CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE

CAP_SETPCAP = 1 << 8
CAP_PERFMON, CAP_BPF = 1 << 38, 1 << 39
"""linux/include/uapi/linux/capability.h."""
NEEDED = CAP_BPF | CAP_PERFMON | CAP_SYS_PTRACE | CAP_SETUID | CAP_SETGID | CAP_SETPCAP
"""BPF: maps and programs.  PERFMON: programs that read the kernel's memory, at tracepoints, and events of those.
SETUID, SETGID and SETPCAP: to become a client when the kernel is asked; SYS_PTRACE: to ask as one that has it."""
LEAST = NEEDED & ~CAP_BPF
"""Without programs there are events still."""
VMLINUX = "/sys/kernel/btf/vmlinux"
"""Where the kernel tells its types (CONFIG_DEBUG_INFO_BTF)."""
CAPABILITIES = "it needs the capabilities PERFMON, SYS_PTRACE, SETUID, SETGID and SETPCAP"
PROGRAMS = "it needs the capability BPF"


class Lacking(Struct, frozen=True):
    """Why there can be no ``attacher``, and why one can load no ``programs``; None where that can be."""

    attacher: str | None = None
    programs: str | None = None


NOTHING = Lacking()


def kept(capabilities: int, *, unlimited: bool) -> int:
    """Return which of its capabilities an attacher keeps; ``unlimited``: how much memory it locks.

    IPC_LOCK only where it is limited (in a container without SYS_RESOURCE, say): the rings of events are such memory,
    and small ones lose what comes while a busy machine does not run us.
    """
    return capabilities & (NEEDED if unlimited else NEEDED | CAP_IPC_LOCK)


def lacking(capabilities: int) -> Lacking:
    """Return what keeps who has these capabilities from having this kernel record."""
    if capabilities & LEAST != LEAST:
        return Lacking(CAPABILITIES)
    if not capabilities & CAP_BPF:
        return Lacking(programs=PROGRAMS)
    if not os.path.exists(VMLINUX):
        return Lacking(programs=f"this kernel does not tell its types ({VMLINUX})")
    return NOTHING
