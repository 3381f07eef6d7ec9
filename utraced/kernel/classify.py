"""From waitpid's status to a classified stop: the kernel is asked, once, all that the core will need."""

from __future__ import annotations

import os
from time import monotonic_ns

from utraced.model import Status
from utraced.syscalls.signals import signal_name
from utraced.tracing.stops import (
    AnyStop,
    CloneStop,
    Death,
    EventStop,
    ExecStop,
    ExitStop,
    GroupStop,
    SignalStop,
    SyscallStop,
    VforkDoneStop,
)

from . import ptrace

SIGTRAP = 5
SYSCALL_STATUS = (SIGTRAP | 0x80) << 8 | 0x7F
"""waitpid's status of a syscall-stop under PTRACE_O_TRACESYSGOOD."""
SECCOMP_STATUS = ptrace.EVENT_SECCOMP << 16 | SIGTRAP << 8 | 0x7F
"""Its status where a seccomp filter has stopped a call."""
CALL_STATUSES = frozenset({SYSCALL_STATUS, SECCOMP_STATUS})
_CLONES = {ptrace.EVENT_FORK: "fork", ptrace.EVENT_VFORK: "vfork", ptrace.EVENT_CLONE: "fork"}
_TOP = 1 << 63
_WRAP = 1 << 64


def classify(tid: int, status: int) -> AnyStop | None:
    """Return what ``status`` of waitpid says of thread ``tid``.

    None where the thread is dying, and its stop already over: its death will be told.
    """
    if status in CALL_STATUSES:
        return syscall_stop(tid)
    if not os.WIFSTOPPED(status):
        return Death(tid, monotonic_ns(), 0, exit_status(status))
    info = ptrace.syscall_info(tid)
    if info is None:
        return None
    signal, event = status >> 8 & 0xFF, status >> 16
    now, pc = monotonic_ns(), info[2]
    if event == 0:
        raw = ptrace.signal_info(tid)
        return None if raw is None or _number(raw, 0) != signal else SignalStop(tid, now, pc, signal, raw)
    if event == ptrace.EVENT_STOP:
        return EventStop(tid, now, pc) if signal == SIGTRAP else GroupStop(tid, now, pc, signal)
    message = ptrace.event_message(tid)
    if message is None or not _still_at(tid, event):
        return None
    return _event(tid, now, pc, event, message)


def syscall_stop(tid: int) -> SyscallStop | None:
    """Return what ``classify`` does for a syscall-stop, and where a filter has stopped a call."""
    info = ptrace.syscall_info(tid)
    if info is None:
        return None
    op, arch, pc, sp, nr, a = info[:6]
    if op == ptrace.INFO_ENTRY:
        return SyscallStop(tid, monotonic_ns(), pc, True, arch, sp, nr, info[5:])
    if op == ptrace.INFO_SECCOMP:
        return SyscallStop(tid, monotonic_ns(), pc, True, arch, sp, nr, info[5:], filtered=True)
    if op != ptrace.INFO_EXIT:
        return None  # a second look at a thread that an exec has taken over since its status was collected
    result = nr - _WRAP if nr >= _TOP else nr
    return SyscallStop(tid, monotonic_ns(), pc, False, arch, sp, -1, (), result, a & 0xFF != 0)


def _event(tid: int, now: int, pc: int, event: int, message: int) -> AnyStop | None:
    if event in _CLONES:
        # clone() makes a thread or a process; only /proc tells which.  Where the child is gone already it does not
        # matter: EVENT_CLONE is then taken for a thread, as it mostly is.
        is_thread = event == ptrace.EVENT_CLONE and not _leads(message)
        return CloneStop(tid, now, pc, message, "thread" if is_thread else _CLONES[event], is_thread)
    if event == ptrace.EVENT_EXEC:
        try:
            path = os.readlink(b"/proc/%d/exe" % tid)
        except OSError:
            path = b""
        return ExecStop(tid, now, pc, message, path)
    if event == ptrace.EVENT_VFORK_DONE:
        return VforkDoneStop(tid, now, pc, message)
    if event == ptrace.EVENT_EXIT:
        return ExitStop(tid, now, pc, exit_status(message))
    return None


def _still_at(tid: int, event: int) -> bool:
    """Tell whether what was asked since ``event`` was told is of it.

    Killed meanwhile, a thread may be on at its next event, the exit, whose message then is its status and no child.
    """
    raw = ptrace.signal_info(tid)
    # si_code of an event stop is what waitpid tells (ptrace_do_notify, kernel/signal.c).
    return raw is not None and _number(raw, 8) == event << 8 | SIGTRAP


def _number(info: bytes, offset: int) -> int:
    """Return a member of a siginfo_t: si_signo at 0, si_code at 8."""
    return int.from_bytes(info[offset : offset + 4], "little", signed=True)


def _leads(tid: int) -> bool:
    """Tell whether ``tid`` leads a process (``Tgid`` of /proc/PID/status)."""
    try:
        with open(f"/proc/{tid}/status", "rb", buffering=0) as file:
            return b"\nTgid:\t%d\n" % tid in file.read()
    except OSError:
        return False


def exit_status(status: int) -> Status:
    """Return how a thread ended, from waitpid's status or PTRACE_EVENT_EXIT's message."""
    if os.WIFSIGNALED(status):
        return Status(signal=signal_name(os.WTERMSIG(status)), core_dumped=os.WCOREDUMP(status))
    return Status(code=status >> 8 & 0xFF)
