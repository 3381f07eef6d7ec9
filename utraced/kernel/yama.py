"""Yama's rule on who may trace whom, where the kernel has it (Documentation/admin-guide/LSM/Yama.rst)."""

from __future__ import annotations

import os

PATH = "/proc/sys/kernel/yama/ptrace_scope"

RULES = {
    1: "kernel.yama.ptrace_scope is 1: only what was started with utracectl, or named this tracer",
    2: "kernel.yama.ptrace_scope is 2: only root may trace",
    3: "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot",
}
HINTS = {
    1: "Start the program with utracectl, or let it call prctl(PR_SET_PTRACER) with the daemon's tracer_pid.",
    2: "Only root may trace here: kernel.yama.ptrace_scope is 2.",
    3: "Nobody may trace here until the next boot: kernel.yama.ptrace_scope is 3.",
}


def present() -> bool:
    """Tell whether this kernel runs it."""
    return os.path.exists(PATH)


def scope() -> int:
    """Return ptrace_scope, 0 where there is no Yama."""
    try:
        with open(PATH, "rb", buffering=0) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def restricts(value: int, *, privileged: bool) -> bool:
    """Tell whether ptrace_scope ``value`` restricts a tracer, ``privileged`` with CAP_SYS_PTRACE: 1 and 2 spare it."""
    return value in RULES and (value == 3 or not privileged)
