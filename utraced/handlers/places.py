"""Where threads stand, for who has lost sight of them."""

from __future__ import annotations

from typing import Literal, cast

from utraced.api.engine import Place, ThreadInfo
from utraced.model import HexText
from utraced.syscalls.abi import from_audit
from utraced.syscalls.signals import signal_name
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.process import Tracee
from utraced.tracing.stops import (
    CloneStop,
    ExecStop,
    ExitStop,
    GroupStop,
    SignalStop,
    SyscallStop,
    VforkDoneStop,
)

KINDS: dict[type, str] = {CloneStop: "clone", VforkDoneStop: "vfork_done", ExecStop: "exec", ExitStop: "exit"}


def thread(engine: Engine, tracee: Tracee) -> ThreadInfo:
    """Return a thread as ``engine`` sees it."""
    status = control.status(engine, tracee)
    wish = tracee.wishes.get(engine)
    action = None if wish is None else cast(Literal["step", "block_step", "syscall"], wish.name.lower())
    return ThreadInfo(
        tid=status.tid,
        state=status.state,
        holders=status.holders,
        at=_place(tracee),
        action=action,
        events=engine.thread_events.get(tracee.tid),
    )


def _place(tracee: Tracee) -> Place | None:
    stop = tracee.stop
    if stop is None:
        return None
    pc: HexText = f"{stop.pc:#x}"
    if isinstance(stop, SyscallStop):
        return _call(stop, pc)
    if isinstance(stop, SignalStop):
        # The trap of a step is no signal of the program.
        return (
            Place(kind="signal", pc=pc, signal=signal_name(stop.signal)) if tracee.signal else Place(kind="step", pc=pc)
        )
    if isinstance(stop, GroupStop):
        return Place(kind="job_control", pc=pc, signal=signal_name(stop.signal))
    return Place(kind=KINDS.get(type(stop), "stop"), pc=pc)


def _call(stop: SyscallStop, pc: HexText) -> Place:
    kind = "syscall_entry" if stop.entering else "syscall_exit"
    result = None if stop.entering else stop.result
    if not stop.entering and stop.nr < 0:  # it returns from a call that it was in when we came
        return Place(kind=kind, pc=pc, result=result)
    return Place(kind=kind, pc=pc, nr=stop.nr, name=from_audit(stop.arch, stop.nr).name_of(stop.nr), result=result)
