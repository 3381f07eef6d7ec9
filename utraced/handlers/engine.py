"""engine.attach, engine.detach and what is set and told of engines."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from time import monotonic_ns

from utraced.api import engine as api
from utraced.errors import InvalidParams
from utraced.model import Empty
from utraced.tracing import control
from utraced.tracing.engine import DEFAULT_EVENTS, Engine
from utraced.tracing.waiting import Waiter

from . import calls, places
from .attaching import attached, check_limits, process_of
from .context import Context, handles
from .target import resolve


@handles(api.Attach)
def attach(params: api.Attach, context: Context) -> Awaitable[api.Attached]:
    """Attach a new engine."""
    check_limits(context)
    target = resolve(params, context)
    events = DEFAULT_EVENTS if params.events is None else _mask(params.events)
    process = process_of(target, context)
    context.session.trail.attached(target.pid, target.start_time, method=params.method)
    engine = Engine(
        context.session,
        process,
        events=events,
        registers="registers" in params.capture,
        hold=params.hold,
        hold_on_exec=params.hold_on_exec,
        follow=params.follow,
    )
    engine.id = context.session.engine_id(engine)
    waiter = control.attach(context.tracer.core, engine)
    return _attached(engine, waiter, context, target.start_time)


async def _attached(engine: Engine, waiter: Waiter, context: Context, start_time: int) -> api.Attached:
    await attached(context, engine, waiter)
    threads = tuple(control.status(engine, tracee) for tracee in engine.process.tracees.values())
    return api.Attached(engine=engine.id, pid=engine.process.pid, start_time=start_time, threads=threads)


@handles(api.Detach)
def detach(params: api.Detach, context: Context) -> Empty:
    """End an engine."""
    control.detach(context.tracer.core, context.session.engine(params.engine), "client_request", monotonic_ns())
    return Empty()


@handles(api.SetEvents)
def set_events(params: api.SetEvents, context: Context) -> Empty:
    """Choose an engine's events anew."""
    engine = context.session.engine(params.engine)
    if params.capture is not None:
        if params.tid is not None:
            raise InvalidParams("what is captured is chosen for all threads", member="capture", hint="Leave tid out.")
        engine.registers = "registers" in params.capture
    if params.tid is None:
        engine.events = dict(_mask(params.events))
        engine.thread_events.clear()
    else:
        tracee = control.tracee_of(context.tracer.core, engine.process, params.tid)
        engine.thread_events[tracee.tid] = dict(_mask(params.events))
    control.refresh(context.tracer.core, engine.process)
    return Empty()


@handles(api.SetSyscalls)
def set_syscalls(params: api.SetSyscalls, context: Context) -> Empty:
    """Choose the system calls an engine is told of."""
    engine = context.session.engine(params.engine)
    engine.entry, engine.exit = calls.changed(engine.entry, params.entry), calls.changed(engine.exit, params.exit)
    control.refresh(context.tracer.core, engine.process)
    return Empty()


@handles(api.List)
def list_engines(_params: api.List, context: Context) -> api.Engines:
    """List this session's engines."""
    return api.Engines(
        engines=tuple(
            api.EngineSummary(engine=number, pid=engine.process.pid, start_time=engine.process.target.start_time())
            for number, engine in context.session.engines.items()
        )
    )


@handles(api.Info)
def info(params: api.Info, context: Context) -> api.EngineInfo:
    """Tell an engine's settings and its threads' states."""
    engine = context.session.engine(params.engine)
    process = engine.process
    return api.EngineInfo(
        engine=engine.id,
        pid=process.pid,
        start_time=process.target.start_time(),
        events=dict(engine.events),
        hold=engine.hold,
        hold_on_exec=engine.hold_on_exec,
        follow=engine.follow,
        entry=calls.told(engine.entry),
        exit=calls.told(engine.exit),
        capture=("registers",) if engine.registers else (),
        threads=tuple(places.thread(engine, tracee) for tracee in process.tracees.values()),
        status=process.status if not process.tracees else None,
    )


def _mask(events: api.EventMask) -> Mapping[str, str]:
    return (
        {str(kind): str(response) for kind, response in events.items()}
        if isinstance(events, dict)
        else dict.fromkeys(events, "report")
    )
