"""System calls of stopped threads, changed.

By registers, as every kernel lets us: PTRACE_SET_SYSCALL_INFO is of Linux 6.16.
"""

from __future__ import annotations

from utraced.arch.x86_64 import ARGUMENTS, CALL_SIZE, ORIG_RAX, RAX, RIP
from utraced.syscalls.abi import ABIS

from . import ptrace

NO_CALL = -1
"""The number of a call that is not made (do_syscall_64, arch/x86/entry/syscall_64.c)."""
HARMLESS = "getpid"


def change(tid: int, abi: str, nr: int, args: tuple[int | None, ...]) -> None:
    """Change the call that a thread stopped at its entry is to make; None leaves an argument as it is."""
    _set(tid, ORIG_RAX, nr)
    for offset, value in zip(ARGUMENTS[abi], args, strict=False):
        if value is not None:
            _set(tid, offset, value)


def abort(tid: int, abi: str, result: int) -> None:
    """Have a thread stopped at the entry of a call make none; ``result`` stands already, should we be killed.

    A seccomp filter looks after us, and may end a process for a call without a number: it gets to see one that does no
    harm, and the result is for ``set_result`` to give.
    """
    if _filtered(tid):
        _set(tid, ORIG_RAX, ABIS[abi].numbers[HARMLESS])
    else:
        _set(tid, ORIG_RAX, NO_CALL)
        _set(tid, RAX, result)


def make(tid: int, abi: str, nr: int, pc: int, args: tuple[int, ...]) -> None:
    """Have a thread next make a call, with the instruction before ``pc``, wherever it is stopped but at an entry.

    Nothing where it was killed since it stopped.
    """
    _set(tid, ORIG_RAX, NO_CALL)  # what it returns from is not made again, should a signal come
    _set(tid, RIP, pc - CALL_SIZE)
    _set(tid, RAX, nr)
    for offset, value in zip(ARGUMENTS[abi], args, strict=False):
        _set(tid, offset, value)


def set_result(tid: int, result: int) -> None:
    """Change what a call returns, of a thread stopped where it returns."""
    _set(tid, RAX, result)


def _set(tid: int, offset: int, value: int) -> None:
    ptrace.attempt(ptrace.PTRACE_POKEUSER, tid, offset, value)


def _filtered(tid: int) -> bool:
    """Tell whether a thread's calls go through seccomp (``Seccomp`` of /proc/PID/status)."""
    try:
        with open(f"/proc/{tid}/status", "rb", buffering=0) as file:
            return b"\nSeccomp:\t0\n" not in file.read()
    except OSError:
        return False  # it is dying
