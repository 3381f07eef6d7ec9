"""Steps: how one is made, and which stop is its end.

The kernel makes steps or tells system calls, never both (ptrace_resume, kernel/ptrace.c): a single step over a system
call passes the stops at its entry and its return.  So where calls are to be told too, a step that comes to a call goes
on by the call's stops instead, and ends at its return.  ``Restart.calls`` asks the kernel floor for that, which knows
the next instruction; that it was done shows at the stop at the call's entry, which no other step has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utraced.api import events

from .actions import Restart, Wish
from .stops import AnyStop, EventStop, GroupStop, SignalStop

if TYPE_CHECKING:
    from .core import Core
    from .process import Tracee

SIGTRAP = 5
TRAPS = frozenset({1, 2, 3, SIGTRAP})
"""TRAP_BRKPT (a step over a system call), TRAP_TRACE, TRAP_BRANCH, and SIGTRAP itself where the step leads into a
signal's handler (signal_setup_done, kernel/signal.c); an int3 of the program's own is SI_KERNEL."""


def is_trap(tracee: Tracee, stop: SignalStop) -> bool:
    """Tell whether a signal is the trap of a step of ours, never the program's own."""
    stepping = tracee.stepping or tracee.request <= Wish.BLOCK_STEP
    return stepping and stop.signal == SIGTRAP and stop.code in TRAPS


def ended(core: Core, tracee: Tracee, pc: int) -> None:
    """A step is done, perhaps for an engine that has left since: tell those that asked for it."""
    for engine in tracee.process.engines:
        if tracee.wishes.get(engine, Wish.RUN) <= Wish.BLOCK_STEP:
            core.tell(engine, tracee, events.Step(pc=f"{pc:#x}"), hold=True)


def restart(tracee: Tracee, stop: AnyStop | None, wish: Wish, signal: int) -> Restart:
    """Return how to restart a thread at ``stop`` by the strongest ``wish``, delivering ``signal``."""
    # The trap of a step that is done may still wait behind a stop of ours (get_signal in kernel/signal.c).
    stepping = tracee.stepping or tracee.request <= Wish.BLOCK_STEP
    tracee.stepping = stepping and (type(stop) is EventStop or type(stop) is GroupStop)
    tracee.request = wish
    if wish > Wish.BLOCK_STEP or not _calls_count(tracee):
        return Restart(tracee.tid, wish, signal)
    # A block may have calls in it, so it is gone through step by step.
    tracee.request = Wish.STEP
    if tracee.entry is not None:  # in a call: the step ends where it returns
        return Restart(tracee.tid, Wish.SYSCALL, signal)
    return Restart(tracee.tid, Wish.STEP, signal, calls=True)


def _calls_count(tracee: Tracee) -> bool:
    """Tell whether the stops of system calls are needed, whoever steps."""
    return (
        tracee.process.request is Wish.SYSCALL
        or tracee.outcome is not None
        or bool(tracee.entries)
        or Wish.SYSCALL in tracee.wishes.values()
    )
