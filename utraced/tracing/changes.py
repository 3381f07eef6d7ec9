"""What an engine changes of the signal or the system call that a thread is held at.

Who holds a thread alone may change what it is at; what another holds too is contended.  A call is changed at its entry,
and its result at either end; a result that is chosen at the entry is given when the call returns, whoever asked for its
return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from utraced.errors import Contended, InvalidParams, NotHeld
from utraced.syscalls.abi import from_audit

from .actions import AbortCall, ChangeCall, SetResult, SetSignal
from .stops import SignalStop, SyscallStop

if TYPE_CHECKING:
    from .core import Core
    from .engine import Engine
    from .process import Tracee

ENOSYS = 38
RESTARTS = frozenset(range(-516, -511))
"""-ERESTARTSYS to -ERESTART_RESTARTBLOCK (linux/errno.h): the kernel's own word for a call that a signal interrupts and
that it is to make again, or to end with EINTR.  A program never sees them."""
MAX_ERRNO = 4095


class SignalChange(NamedTuple):
    """``number``: the signal to deliver instead, 0 for none, None for the same; ``info``: its siginfo_t, or None."""

    number: int | None = None
    info: bytes | None = None


class CallChange(NamedTuple):
    """``abort``: it is not made; ``nr`` and ``args``: what it becomes; ``result``: what it returns.

    None leaves each as it is.
    """

    abort: bool = False
    nr: str | int | None = None
    args: tuple[int | None, ...] = ()
    result: int | None = None


class Outcome(NamedTuple):
    """The result chosen for a call at its entry, at ``pc``; ``made`` is the number of the call that is made."""

    result: int
    pc: int
    made: int
    aborted: bool


def check(engine: Engine, tracee: Tracee, change: SignalChange | CallChange | None) -> None:
    """Refuse a change that cannot be made; changes nothing.

    Raises NotHeld where the thread is at no such stop, Contended where another engine holds it too, InvalidParams.
    """
    if change is None:
        return
    stop = tracee.stop
    if isinstance(change, SignalChange):
        if type(stop) is not SignalStop:
            raise NotHeld(f"thread {tracee.tid} is not held at a signal", tid=tracee.tid)
    else:
        if type(stop) is not SyscallStop:
            raise NotHeld(f"thread {tracee.tid} is not held at a system call", tid=tracee.tid)
        if not stop.entering and (change.abort or change.nr is not None or change.args):
            raise NotHeld(
                f"thread {tracee.tid} is held where a call returns: only its result can be changed",
                tid=tracee.tid,
                hint="Hold at syscall_entry to change a call before it is made.",
            )
        _number(stop, change)
    others = [other for other in tracee.holders if other is not engine]
    if others:
        owner = others[0].owner
        raise Contended(f"session {owner.session} holds the thread too", holder=owner.holder)


def apply(core: Core, tracee: Tracee, change: SignalChange | CallChange | None) -> None:
    """Make a change that ``check`` let pass."""
    stop = tracee.stop
    if isinstance(change, SignalChange):
        if change.number is not None:
            tracee.signal = change.number
        if change.info is not None and tracee.signal:
            # The kernel keeps it for the signal it names only (ptrace_signal, kernel/signal.c).
            info = tracee.signal.to_bytes(4, "little") + change.info[4:]
            core.actions.append(SetSignal(tracee.tid, info))
    elif change is not None and type(stop) is SyscallStop:
        if stop.entering:
            _change_entry(core, tracee, stop, change)
        elif change.result is not None:
            core.actions.append(SetResult(tracee.tid, change.result))


def _change_entry(core: Core, tracee: Tracee, stop: SyscallStop, call: CallChange) -> None:
    abi = from_audit(stop.arch, stop.nr).name
    made = _number(stop, call)
    if call.abort:
        result = -ENOSYS if call.result is None else call.result
        tracee.outcome = Outcome(result, stop.pc, made, True)
        core.actions.append(AbortCall(tracee.tid, abi, result))
        return
    if call.nr is not None or any(arg is not None for arg in call.args):
        core.actions.append(ChangeCall(tracee.tid, abi, made, call.args))
    if call.result is not None:
        tracee.outcome = Outcome(call.result, stop.pc, made, False)


def _number(stop: SyscallStop, call: CallChange) -> int:
    """Return the number of the call that is to be made; raises InvalidParams for a name its caller's ABI has not."""
    if call.nr is None:
        return stop.nr
    if isinstance(call.nr, int):
        return call.nr
    abi = from_audit(stop.arch, stop.nr)
    number = abi.number(call.nr)
    if number is None:
        raise InvalidParams(f"there is no system call {call.nr!r} for {abi.name}", member="nr")
    return number


def entered(tracee: Tracee, stop: SyscallStop) -> None:
    """A call begins while a result waits for one: it is for this one only if it is the same, made again."""
    outcome = tracee.outcome
    if outcome is not None and (stop.pc != outcome.pc or not _again(outcome, stop)):
        tracee.outcome = None


def _again(outcome: Outcome, stop: SyscallStop) -> bool:
    """Tell whether ``stop`` is at the entry of the call of ``outcome`` (restart_syscall(2) is how some go on)."""
    return stop.nr == outcome.made or from_audit(stop.arch, stop.nr).name_of(stop.nr) == "restart_syscall"


def returned(core: Core, tracee: Tracee, stop: SyscallStop) -> None:
    """A call returns for which a result was chosen; all are told what the program sees.

    One that a signal interrupts is to be made again: its result stays as it is, and waits for its return.
    """
    outcome = tracee.outcome
    if outcome is None or (stop.result in RESTARTS and not outcome.aborted):
        return
    tracee.outcome = None
    stop.result = outcome.result
    stop.failed = -MAX_ERRNO <= outcome.result < 0
    core.actions.append(SetResult(tracee.tid, outcome.result))
