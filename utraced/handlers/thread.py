"""thread.stop, thread.resume, thread.signal."""

from __future__ import annotations

from collections.abc import Awaitable

from utraced.api import thread as api
from utraced.errors import InvalidParams, NoSuchProcess, NotHeld
from utraced.kernel.denied import explained
from utraced.kernel.signals import send
from utraced.linux.errno_errors import error_of
from utraced.model import Empty
from utraced.syscalls.results import errno_number
from utraced.syscalls.signals import signal_number
from utraced.tracing import control
from utraced.tracing.actions import Wish
from utraced.tracing.changes import RESTARTS, CallChange, SignalChange
from utraced.tracing.engine import Engine
from utraced.tracing.process import Tracee
from utraced.tracing.waiting import Waiter

from .attaching import stopped, stopped_soon
from .context import Context, handles
from .target import resolve

SIGINFO_SIZE = 128
WISHES = {"run": Wish.RUN, "syscall": Wish.SYSCALL, "block_step": Wish.BLOCK_STEP, "step": Wish.STEP}


@handles(api.Stop)
def stop(params: api.Stop, context: Context) -> Awaitable[api.Stopped] | api.Stopped:
    """Hold threads."""
    engine = context.session.engine(params.engine)
    tracees = _tracees(engine, params.tid, context)
    waiter = control.hold(context.tracer.core, engine, tracees, announce=not params.wait)
    if params.wait and not stopped_soon(context, waiter):
        return _stopped(engine, [tracee.tid for tracee in tracees], waiter, params.timeout_ms, context)
    return _states(engine, [tracee.tid for tracee in tracees])


async def _stopped(
    engine: Engine, tids: list[int], waiter: Waiter, timeout_ms: int | None, context: Context
) -> api.Stopped:
    await stopped(context, engine, waiter, timeout_ms)
    return _states(engine, tids)


def _states(engine: Engine, tids: list[int]) -> api.Stopped:
    """Return the states of those threads that are still there."""
    tracees = engine.process.tracees
    return api.Stopped(threads=tuple(control.status(engine, tracees[tid]) for tid in tids if tid in tracees))


@handles(api.Resume)
def resume(params: api.Resume, context: Context) -> api.Running:
    """Let go of held threads."""
    engine = context.session.engine(params.engine)
    change = _change(params)
    tracees = _tracees(engine, params.tid, context)
    if params.tid is None:
        tracees = [tracee for tracee in tracees if engine in tracee.holders]
        if not tracees:
            raise NotHeld(f"engine {engine.id} holds no thread of process {engine.process.pid}")
    running = control.resume(context.tracer.core, engine, tracees, WISHES[params.action], change)
    holders = [holder for tracee in tracees for holder in control.holders(tracee)]
    return api.Running(running=running, holders=tuple(dict.fromkeys(holders)))


@handles(api.Signal)
def send_signal(params: api.Signal, context: Context) -> Empty:
    """Send a signal to a process or a thread."""
    target = resolve(params, context)
    with explained(target.pid):
        try:
            send(*target, params.tid, _number(params.signal))
        except ProcessLookupError:
            gone = "has ended" if params.tid is None else f"has no thread {params.tid}"
            raise NoSuchProcess(f"process {target.pid} {gone}") from None
        except BlockingIOError as error:  # too many real-time signals wait already (RLIMIT_SIGPENDING)
            raise error_of(error, pid=target.pid) from error
    return Empty()


def _change(params: api.Resume) -> SignalChange | CallChange | None:
    if params.signal is not None:
        if params.syscall is not None:
            raise InvalidParams("a thread is at a signal or at a system call, not at both", member="syscall")
        return _signal_change(params.signal)
    return None if params.syscall is None else _call_change(params.syscall)


def _signal_change(change: api.SignalChange) -> SignalChange:
    if not change.deliver:
        if change.number is not None or change.info is not None:
            raise InvalidParams("a signal that is not delivered has no number and no info", member="deliver")
        return SignalChange(number=0)
    info = None if change.info is None else change.info.ljust(SIGINFO_SIZE, b"\0")
    return SignalChange(None if change.number is None else _number(change.number), info)


def _call_change(change: api.CallChange) -> CallChange:
    if change.abort and (change.nr is not None or change.args):
        raise InvalidParams("a call that is not made has no number and no arguments", member="abort")
    return CallChange(change.abort, change.nr, change.args, _result(change.result))


def _result(value: str | int | None) -> int | None:
    """Return the signed result that is written as a number, a 64-bit word or the name of an errno."""
    if isinstance(value, str):
        if value.startswith("0x"):
            word = int(value, 16)
            value = word - (1 << 64) if word >> 63 else word
        else:
            number = errno_number(value)
            if number is None:
                raise InvalidParams(f"there is no errno {value!r}", member="return", hint="Errnos are written EPERM.")
            value = -number
    if value in RESTARTS:
        raise InvalidParams(
            f"{value} is the kernel's own word for a call that it makes again",
            member="return",
            hint="Use EINTR, or leave the result as it is.",
        )
    return value


def _number(name: str | int) -> int:
    number = signal_number(str(name))
    if not number:
        raise InvalidParams(f"there is no signal {name!r}", hint="Signals are written SIGUSR1, SIGRT_3 or 10.")
    return number


def _tracees(engine: Engine, tid: int | None, context: Context) -> list[Tracee]:
    if tid is None:
        return list(engine.process.tracees.values())
    return [control.tracee_of(context.tracer.core, engine.process, tid)]
