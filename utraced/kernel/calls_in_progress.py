"""The system calls that threads are in right now, as /proc/TID/syscall tells without stopping them (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic_ns

from utraced.syscalls.abi import AUDIT_ARCH_I386, AUDIT_ARCH_X86_64
from utraced.tracing.stops import SyscallStop

_FIELDS = 9
_WIDE = 1 << 32


def calls_in_progress(pid: int) -> Iterator[SyscallStop]:
    """Give the entry of each call that a thread of ``pid`` sleeps in; of threads that run there is nothing to tell."""
    try:
        tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return
    for tid in tids:
        try:
            with open(f"/proc/{pid}/task/{tid}/syscall", "rb", buffering=0) as file:
                fields = file.read().split()
        except OSError:
            continue
        # "running", or "-1 sp pc" where it is blocked elsewhere than in a call.
        if len(fields) != _FIELDS:
            continue
        nr = int(fields[0])
        *args, sp, pc = (int(field, 16) for field in fields[1:])
        # A 32-bit caller's stack is below 4 GiB, and no other's is.
        arch = AUDIT_ARCH_X86_64 if sp >= _WIDE else AUDIT_ARCH_I386
        yield SyscallStop(tid, monotonic_ns(), pc, True, arch, sp, nr, tuple(args))
