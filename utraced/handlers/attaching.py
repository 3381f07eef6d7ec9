"""What attaching an engine and starting a trace have in common."""

from __future__ import annotations

import os
import pwd
from signal import SIGCHLD, sigtimedwait
from time import monotonic_ns
from typing import Any

from utraced.errors import LimitExceeded, NoSuchProcess, PermissionDenied, TimedOut
from utraced.kernel.proc import Process
from utraced.linux.handing import WORKER_NAME
from utraced.observing.trace import Trace
from utraced.syscalls.calls import signatures
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.process import Process as Traced
from utraced.tracing.waiting import Waiter

from .context import Context
from .deadlocks import check_deadlock
from .target import Target

SOON_NS = 100_000
"""Nanoseconds that a request waits for threads to stop before it lets others have their turn."""
PATIENCE = 0.05
"""Seconds between looks whether threads that do not stop are in uninterruptible sleep."""


def process_of(target: Target, context: Context) -> Traced:
    """Attach to a process; raises NoSuchProcess, PermissionDenied."""
    check_deadlock(target.pid, context.session)
    try:
        return context.tracer.attach(target.pid, target.start_time)
    except PermissionDenied as error:
        if error.reason == "traced_by_other":
            _name_socket(error.data["tracer"], context)
        raise


def attach_trace(trace: Trace, target: Target, context: Context, *, method: str) -> tuple[Engine, Waiter]:
    """Attach a new trace to a process for a ``method``; return its engine, and what waits for the threads.

    Raises NoSuchProcess, PermissionDenied.
    """
    signatures("x86_64")  # loaded before anything waits for it
    session = context.session
    process = process_of(target, context)
    session.trail.traces(target.pid, target.start_time, method=method)
    trace.id = session.new_id()
    session.traces[trace.id] = trace
    engine = Engine(session, process, events={}, follow=trace.follow, trace=trace)
    return engine, control.attach(context.tracer.core, engine)


def _name_socket(tracer: dict[str, Any], context: Context) -> None:
    """Add the socket that leads to a tracer which is a worker like us, where there is one.

    Whoever calls himself a worker is believed: it is root who has made the socket, and it leads to a worker.
    """
    try:
        with Process(tracer["pid"]) as process:
            uid = process.status().users.real
    except (NoSuchProcess, PermissionError):
        return
    if tracer["comm"] != WORKER_NAME:
        return
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        return
    path = os.path.join(os.path.dirname(context.session.socket), "as", f"{user}.sock")
    if os.path.exists(path):
        tracer["socket"] = path


def stopped_soon(context: Context, waiter: Waiter) -> bool:
    """Tell whether all threads of ``waiter`` have stopped, after a moment that is shorter than a turn of the loop.

    It sleeps where they need the CPU.  To yield it instead would count as having used it up: then one that is busy
    would have it for the 4 ms of its slice as soon as it goes on.
    """
    context.tracer.perform()
    end = monotonic_ns() + SOON_NS
    while waiter.outstanding and (left := end - monotonic_ns()) > 0:
        sigtimedwait({SIGCHLD}, left / 1e9)
        # The signal that the loop would wake up by may be taken now: so it is raised again unless nothing is left.
        if context.tracer.round() and context.tracer.round():
            os.kill(os.getpid(), SIGCHLD)
    return not waiter.outstanding


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
