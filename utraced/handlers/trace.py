"""trace.start, trace.stop."""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic_ns
from typing import TYPE_CHECKING

from utraced.api import trace as api
from utraced.errors import LimitExceeded, NoSuchProcess, PermissionDenied, Unsupported
from utraced.observing.paths import prefix_of
from utraced.observing.recorded import Recorded
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.waiting import Waiter

if TYPE_CHECKING:
    from utraced.kernel.recorder_requests import Backend

from . import backends, calls, filtered, recording
from .attaching import attach_trace, attached, check_limits
from .context import Context, handles
from .target import Target, resolve


@handles(api.Start)
def start(params: api.Start, context: Context) -> Awaitable[api.Started]:
    """Trace the system calls of a process."""
    _check(params)
    check_limits(context)
    selection = calls.selection(params.syscalls)
    target = resolve(params, context)
    trace = _trace(params, selection, context)
    if params.backend == "ptrace":
        return _traced(params, target, trace, context, backends.ASKED)
    if params.backend in backends.RECORDING:
        return _recorded(params, target, trace, context, params.backend)
    if params.backend == filtered.BACKEND:
        return filtered.start(params, target, trace, context)
    reason = backends.against_recording(params, target.pid, context.session)
    if reason is not None:
        return _traced(params, target, trace, context, reason)
    return _recorded_or_traced(params, target, trace, context)


async def _recorded_or_traced(params: api.Start, target: Target, trace: Trace, context: Context) -> api.Started:
    """Have the kernel record, or where it will not, trace with ptrace."""
    reasons: list[str] = []
    for backend in backends.RECORDING:
        reason = backends.against(backend, params, context.session)
        if reason is None:
            try:
                return await _recorded(params, target, trace, context, backend, "; ".join(reasons) or None)
            except (NoSuchProcess, PermissionDenied) as error:
                # A process whose main thread has ended is gone for the attacher, as it has no memory to ask for.  And
                # who may not trace it is told by ptrace why, and by the attacher that it may not be.
                reasons.append(backends.refused(backend, error))
                break
            except (Unsupported, LimitExceeded) as error:
                reason = backends.refused(backend, error)
        reasons.append(reason)
    return await _traced(params, target, trace, context, "; ".join(reasons))


def _traced(params: api.Start, target: Target, trace: Trace, context: Context, reason: str) -> Awaitable[api.Started]:
    """Trace with ptrace, for a ``reason``."""
    engine, waiter = attach_trace(trace, target, context, method=params.method)
    return _started(engine, waiter, context, trace, reason)


def _trace(params: api.Start, selection: Selection, context: Context) -> Trace:
    """Return the trace that is asked for, still without its id."""
    trace = Trace(
        context.session,
        selection,
        limit=params.strings,
        failed_only=params.failed_only,
        follow=params.follow,
        block=params.overflow == "block",
        entries=params.entries,
        from_exec=params.from_exec,
        stacks=params.stacks,
        filtered=params.backend == filtered.BACKEND,
        prefix=prefix_of(params.path_prefix),
    )
    trace.processes = 1
    return trace


async def _started(engine: Engine, waiter: Waiter, context: Context, trace: Trace, reason: str) -> api.Started:
    await attached(context, engine, waiter)
    return api.Started(trace=trace.id, backend="ptrace", reason=reason)


async def _recorded(  # noqa: PLR0913, PLR0917 - a trace, and why it is made this way
    params: api.Start, target: Target, trace: Trace, context: Context, backend: Backend, reason: str | None = None
) -> api.Started:
    await recording.start(params, target, trace, context, backend)
    context.session.trail.traces(target.pid, target.start_time, method=params.method)
    return api.Started(trace=trace.id, backend=backend, reason=reason, deliver=params.deliver)


@handles(api.Stop)
def stop(params: api.Stop, context: Context) -> api.Totals | Awaitable[api.Totals]:
    """End a trace."""
    trace = context.session.trace(params.trace)
    recorded = context.session.recordings.get(params.trace)
    if recorded is not None:
        return _finished(recorded, context)
    for engine in context.session.engines_of(trace):
        control.detach(context.tracer.core, engine, "client_request", monotonic_ns())
    context.tracer.perform()
    return api.Totals(delivered=trace.delivered, lost=trace.lost)


async def _finished(recorded: Recorded, context: Context) -> api.Totals:
    await context.session.recorder.finish(recorded, "client_request")
    return api.Totals(delivered=recorded.trace.delivered, lost=recorded.trace.lost)


def _check(params: api.Start) -> None:
    """Refuse what a backend cannot do."""
    if params.backend == filtered.BACKEND:
        filtered.check(params)
    if params.deliver != "events" and params.backend not in {"auto", *backends.RECORDING}:
        raise Unsupported("only the kernel writes records", feature="trace.raw", hint="Use backend kernel.")
    if params.backend == "perf" and (missing := backends.lacking_of_perf(params)) is not None:
        raise Unsupported(
            f"the backend perf cannot tell {missing}", feature="backend.perf", hint="Use backend kernel, or auto."
        )
