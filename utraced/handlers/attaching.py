"""What attaching an engine and starting a trace have in common."""

from __future__ import annotations

from time import monotonic_ns

from utraced.errors import LimitExceeded, PermissionDenied, TimedOut
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.process import Process
from utraced.tracing.waiting import Waiter

from .context import Context
from .target import Target

PATIENCE = 0.05
"""Seconds between looks whether threads that do not stop are in uninterruptible sleep."""


def process_of(target: Target, context: Context) -> Process:
    """Attach to a process; raises NoSuchProcess, PermissionDenied."""
    if target.pid == context.session.peer.pid:
        raise PermissionDenied(
            f"process {target.pid} is the client itself",
            reason="would_deadlock",
            hint="A process cannot wait for its own stops: let another process trace it.",
        )
    return context.tracer.attach(target.pid)


async def stopped(context: Context, engine: Engine, waiter: Waiter, timeout_ms: int | None = None) -> None:
    """Wait until all threads of ``waiter`` have stopped, or can't because they are in uninterruptible sleep.

    Those get a ``stop`` event when they do, where the engine holds.  Raises TimedOut.
    """
    try:
        await _all_stopped(context, waiter, timeout_ms)
    except BaseException:
        # Timed out or cancelled, they are held all the same.
        control.give_up(context.tracer.core, engine, waiter, "requested")
        raise
    control.give_up(context.tracer.core, engine, waiter, "attached" if engine.hold else "requested")


async def attached(context: Context, engine: Engine, waiter: Waiter) -> None:
    """Wait as ``stopped`` for a new engine; where the request is cancelled the engine ends: no reply names it."""
    try:
        await stopped(context, engine, waiter)
    except BaseException:
        control.detach(context.tracer.core, engine, "client_request", monotonic_ns())
        context.tracer.perform()
        raise


async def _all_stopped(context: Context, waiter: Waiter, timeout_ms: int | None) -> None:
    waited = 0.0
    while waiter.outstanding:
        if await context.waits.over(waiter, PATIENCE):
            return
        waited += PATIENCE
        if context.tracer.wait_over(waiter.outstanding):
            return
        if timeout_ms is not None and waited * 1000 >= timeout_ms:
            raise TimedOut(
                f"{len(waiter.outstanding)} threads have not stopped in {timeout_ms} ms",
                hint="They will be held, and told by stop events, as soon as they can be.",
            )


def check_limits(context: Context) -> None:
    """Refuse more engines than a session may have."""
    if len(context.session.engines) + len(context.session.traces) >= MAX_ENGINES:
        raise LimitExceeded(
            f"this session has {MAX_ENGINES} engines and traces",
            limit="engines",
            value=MAX_ENGINES,
            hint="Detach engines that are no longer needed.",
        )


MAX_ENGINES = 10_000
