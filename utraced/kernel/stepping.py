"""Restarting stopped threads, by steps among others, and the traps that steps leave."""

from __future__ import annotations

import os

from utraced.arch.x86_64 import LONGEST, RIP, makes_call
from utraced.tracing.actions import Restart, Wish
from utraced.tracing.steps import SIGTRAP, TRAPS

from . import ptrace

REQUESTS = {
    Wish.STEP: ptrace.PTRACE_SINGLESTEP,
    Wish.BLOCK_STEP: ptrace.PTRACE_SINGLEBLOCK,
    Wish.SYSCALL: ptrace.PTRACE_SYSCALL,
    Wish.RUN: ptrace.PTRACE_CONT,
}


def restart(action: Restart) -> None:
    """Restart a stopped thread; nothing where it is dying."""
    request = REQUESTS[action.wish]
    if action.calls and _at_call(action.tid):
        request = ptrace.PTRACE_SYSCALL
        if action.signal:
            # Without a handler the signal leaves it at the call, with one it is elsewhere: it is to stop and be looked
            # at again before its next instruction, which a pending interrupt makes it do (get_signal, kernel/signal.c).
            ptrace.attempt(ptrace.PTRACE_INTERRUPT, action.tid)
    ptrace.restart(request, action.tid, action.signal)


def _at_call(tid: int) -> bool:
    """Tell whether the next instruction of a stopped thread is a system call; False where it is dying."""
    try:
        pc = ptrace.peek_user(tid, RIP)
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            return makes_call(os.pread(memory.fileno(), LONGEST, pc))
    except (OSError, OverflowError):
        return False  # dying, or at an address that it cannot execute either


def trap_waits(tid: int) -> bool:
    """Tell whether the trap of a step of ours waits for a stopped thread: let go, it would be killed by that."""
    return any(number == SIGTRAP and code in TRAPS for number, code in ptrace.waiting_signals(tid))
