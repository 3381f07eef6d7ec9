"""The daemon itself: daemon.hello, daemon.check."""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable
from functools import cache

from utraced.api import daemon as api
from utraced.errors import PermissionDenied
from utraced.kernel import allowed
from utraced.kernel.denied import explained
from utraced.kernel.examine import examine
from utraced.kernel.obstacles import Obstacle
from utraced.kernel.recorder_requests import Backend
from utraced.version import VERSION

from . import filtered
from .aside import aside
from .backends import DIFFERENCES, RECORDING
from .context import Context, handles
from .deadlocks import check_deadlock
from .limits import MAX_BATCH, MAX_FDS, MAX_PACKET, MAX_READ, MAX_VALUES, MAX_WAITING
from .recorder import Recorder
from .target import Target, resolve_any


@handles(api.Hello)
def hello(params: api.Hello, context: Context) -> api.Welcome:
    """Introduce the client and the daemon to each other."""
    session = context.session
    session.client = params.client
    limits = session.limits
    return api.Welcome(
        server="utraced",
        version=VERSION,
        protocol=api.PROTOCOL,
        session=session.session,
        boot_id=_boot_id(),
        peer=session.peer,
        target_user=user_name(os.geteuid()),
        access=session.access,
        tracer_pid=os.getpid(),
        pid_namespace=_pid_namespace(),
        limits=api.Limits(
            max_packet=MAX_PACKET,
            max_batch=MAX_BATCH,
            max_values=MAX_VALUES,
            max_fds=MAX_FDS,
            max_read=MAX_READ,
            max_queue=limits.queue_bytes,
            max_waiting=MAX_WAITING,
            max_sessions=limits.sessions,
            max_tracees=limits.tracees,
            stall_seconds=limits.stall_seconds,
        ),
        features=_features()
        | {f"backend.{each}": _recording(session.recorder, each) for each in RECORDING}
        | {filtered.FEATURE: _filters()},
    )


@handles(api.Check)
def check(params: api.Check, context: Context) -> Awaitable[api.Checked]:
    """Find out what works here, and for one process."""
    target = resolve_any(params, context)
    # Here, and not aside: it looks at the sessions, and at what is traced.
    besides = None if target is None else _deadlock(target, context)
    process = None if target is None else context.tracer.core.processes.get(target.pid)
    bound = process is not None and process.bound
    return aside(lambda: _checked(target, besides, bound=bound))


def _deadlock(target: Target, context: Context) -> Obstacle | None:
    """Return what keeps this very client from tracing a process."""
    try:
        check_deadlock(target.pid, context.session)
    except PermissionDenied as error:
        return Obstacle("process", error)
    return None


@cache
def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


@cache
def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


@cache
def user_name(uid: int) -> str:
    """Return a user's name, or the number as text where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@cache
def _features() -> dict[str, api.Feature]:
    """Tell what works here, and why not, as it stood when first asked."""
    return {
        finding.feature: api.Feature(available=True)
        if finding.verdict == "works"
        else api.Feature(available=False, reason=finding.text)
        for finding in allowed.tracing()
        if finding.feature is not None
    }


def _recording(recorder: Recorder, backend: Backend) -> api.Feature:
    """Tell whether the kernel can record traces this way."""
    reason = recorder.unavailable(backend)
    return api.Feature(available=reason is None, reason=reason or DIFFERENCES[backend])


def _filters() -> api.Feature:
    """Tell whether a filter can stop calls, and what it is for."""
    ptrace = _features().get("backend.ptrace")
    if ptrace is not None and not ptrace.available:
        return ptrace
    missing = filtered.unavailable()
    return api.Feature(available=missing is None, reason=missing or filtered.DIFFERENCES)


def _checked(target: Target | None, besides: Obstacle | None, *, bound: bool) -> api.Checked:
    """Look at everything."""
    tracing = list(allowed.tracing())
    findings = (*tracing, *allowed.machine())
    if target is None:
        return api.Checked(findings=findings, conclusion=allowed.conclusion(tracing))
    with explained(target.pid):
        found = examine(target.pid, target.start_time, besides=besides, bound=bound)
    return api.Checked(findings=findings, process=found.findings, conclusion=found.conclusion)
