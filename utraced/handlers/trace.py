"""trace.start, trace.stop."""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic_ns

from utraced.api import trace as api
from utraced.errors import Unsupported
from utraced.syscalls.calls import signatures
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.trace import Trace
from utraced.tracing.waiting import Waiter

from . import calls
from .attaching import attached, check_limits, process_of
from .context import Context, handles
from .target import resolve


@handles(api.Start)
def start(params: api.Start, context: Context) -> Awaitable[api.Started]:
    """Trace the system calls of a process."""
    _check(params)
    check_limits(context)
    selection = calls.selection(params.syscalls)
    signatures("x86_64")  # loaded before anything waits for it
    target = resolve(params, context)
    process = process_of(target, context)
    context.session.trail.traces(target.pid, target.start_time, method=params.method)
    trace = Trace(
        context.session,
        selection,
        limit=params.strings,
        failed_only=params.failed_only,
        follow=params.follow,
        block=params.overflow == "block",
        entries=params.entries,
        from_exec=params.from_exec,
    )
    trace.id = context.session.new_id()
    trace.processes = 1
    context.session.traces[trace.id] = trace
    engine = Engine(context.session, process, events={}, follow=params.follow, trace=trace)
    waiter = control.attach(context.tracer.core, engine)
    return _started(engine, waiter, context, trace)


async def _started(engine: Engine, waiter: Waiter, context: Context, trace: Trace) -> api.Started:
    await attached(context, engine, waiter)
    return api.Started(trace=trace.id, backend="ptrace", reason="the only backend of this version")


@handles(api.Stop)
def stop(params: api.Stop, context: Context) -> api.Totals:
    """End a trace."""
    trace = context.session.trace(params.trace)
    for engine in context.session.engines_of(trace):
        control.detach(context.tracer.core, engine, "client_request", monotonic_ns())
    context.tracer.perform()
    return api.Totals(delivered=trace.delivered, lost=trace.lost)


def _check(params: api.Start) -> None:
    """Refuse what is not built."""
    if params.backend not in {"auto", "ptrace"}:
        raise Unsupported(
            f"there is no backend {params.backend!r} in this version",
            feature=f"backend.{params.backend}",
            hint="Use backend ptrace, or auto.",
        )
    if params.stacks:
        raise Unsupported("stacks are not recorded in this version", feature="trace.stacks", hint="Leave stacks out.")
    if params.deliver != "events":
        raise Unsupported("raw records are not told in this version", feature="trace.raw", hint="Use deliver events.")
