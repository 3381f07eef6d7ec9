"""thread.stop, thread.resume, thread.signal."""

from __future__ import annotations

from collections.abc import Awaitable

from utraced.api import thread as api
from utraced.errors import InvalidParams, NoSuchProcess, NotHeld
from utraced.kernel.denied import explained
from utraced.kernel.signals import send
from utraced.linux.errno_errors import error_of
from utraced.model import Empty, Holder
from utraced.syscalls.signals import signal_number
from utraced.tracing import control
from utraced.tracing.actions import Wish
from utraced.tracing.engine import Engine
from utraced.tracing.process import Tracee
from utraced.tracing.waiting import Waiter

from .attaching import stopped
from .context import Context, handles
from .target import resolve

WISHES = {"run": Wish.RUN, "syscall": Wish.SYSCALL, "block_step": Wish.BLOCK_STEP, "step": Wish.STEP}


@handles(api.Stop)
def stop(params: api.Stop, context: Context) -> Awaitable[api.Stopped] | api.Stopped:
    """Hold threads."""
    engine = context.session.engine(params.engine)
    tracees = _tracees(engine, params.tid, context)
    waiter = control.hold(context.tracer.core, engine, tracees, announce=not params.wait)
    if params.wait:
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
    number = _replacement(params.signal)
    tracees = _tracees(engine, params.tid, context)
    if params.tid is None:
        tracees = [tracee for tracee in tracees if engine in tracee.holders]
        if not tracees:
            raise NotHeld(f"engine {engine.id} holds no thread of process {engine.process.pid}")
    running = True
    holders: list[Holder] = []
    for tracee in tracees:
        signal = number if params.signal is not None else None
        if signal == 0 and params.signal is not None and params.signal.deliver:
            signal = None
        running &= control.resume(context.tracer.core, engine, tracee, WISHES[params.action], signal)
        holders.extend(control.holders(tracee))
    return api.Running(running=running, holders=tuple(dict.fromkeys(holders)))


@handles(api.Signal)
def send_signal(params: api.Signal, context: Context) -> Empty:
    """Send a signal to a process or a thread."""
    target = resolve(params, context)
    with explained(target.pid):
        try:
            send(target.pid, params.tid, _number(params.signal))
        except ProcessLookupError:
            gone = "has ended" if params.tid is None else f"has no thread {params.tid}"
            raise NoSuchProcess(f"process {target.pid} {gone}") from None
        except BlockingIOError as error:  # too many real-time signals wait already (RLIMIT_SIGPENDING)
            raise error_of(error, pid=target.pid) from error
    return Empty()


def _replacement(change: api.SignalChange | None) -> int:
    """Return the signal to deliver, 0 for none or for the one that is there."""
    if change is None or not change.deliver or change.number is None:
        return 0
    return _number(change.number)


def _number(name: str | int) -> int:
    number = signal_number(str(name))
    if not number:
        raise InvalidParams(f"there is no signal {name!r}", hint="Signals are written SIGUSR1, SIGRT_3 or 10.")
    return number


def _tracees(engine: Engine, tid: int | None, context: Context) -> list[Tracee]:
    if tid is None:
        return list(engine.process.tracees.values())
    return [control.tracee_of(context.tracer.core, engine.process, tid)]
