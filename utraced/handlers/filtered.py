"""Traces of the backend seccomp: a filter in the traced processes stops the selected calls, and no other."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from time import monotonic_ns
from typing import TYPE_CHECKING

from utraced.api import trace as api
from utraced.errors import InvalidParams, LimitExceeded, Unsupported
from utraced.kernel.proc import Process
from utraced.kernel.seccomp_filter import MOST, assemble
from utraced.observing.trace import Trace
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.filtering import Installation, install
from utraced.tracing.waiting import Waiter

from . import backends
from .attaching import PATIENCE, attach_trace, attached

if TYPE_CHECKING:
    from .context import Context
    from .target import Target

BACKEND = "seccomp"
FEATURE = f"backend.{BACKEND}"
STRICT = 1
"""SECCOMP_MODE_STRICT, linux/include/uapi/linux/seccomp.h."""
CALM = 5.0
"""Seconds in which the process has to make a system call."""
ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"

BOUND = "the filter cannot be removed: the process and its children stay traced, and end when this daemon does"
DEPRIVED = "by execve they gain no privileges"
DIFFERENCES = (
    f"only with follow and from_exec; {BOUND}; {DEPRIVED}, unless they had CAP_SYS_ADMIN; calls that a filter of the"
    " program's own answers are not seen"
)


def unavailable() -> str | None:
    """Return why this kernel has no such filters, None where it has."""
    try:
        with open(ACTIONS, encoding="ascii") as file:
            known = file.read().split()
    except OSError as error:
        return f"this kernel does not say what its seccomp filters can do ({ACTIONS}: {error.strerror})"
    return None if "trace" in known else "this kernel has no seccomp filters that stop calls"


def check(params: api.Start) -> None:
    """Refuse what a filter is not for, which all children inherit and nobody can remove; raises InvalidParams."""
    for member, given in (("follow", params.follow), ("from_exec", params.from_exec)):
        if not given:
            raise InvalidParams(
                f"the backend seccomp needs {member}: its filter is for a whole program, and for all its children",
                member=member,
                hint="Ask for follow and from_exec, or use backend ptrace.",
            )


def start(params: api.Start, target: Target, trace: Trace, context: Context) -> Awaitable[api.Started]:
    """Put the filter into the process, and trace; raises UtracedError, and then the process is as it was."""
    program = _program(trace)
    _examine(target, context)
    engine, waiter = attach_trace(trace, target, context, method=params.method)
    installation = install(engine.process, program)
    return _started(trace, engine, waiter, installation, context)


async def _started(
    trace: Trace, engine: Engine, waiter: Waiter, installation: Installation, context: Context
) -> api.Started:
    try:
        await attached(context, engine, waiter)
        await _installed(context, installation)
    except BaseException:
        installation.wanted = False
        context.session.traces.pop(trace.id, None)
        trace.id = 0  # no reply has named it
        control.detach(context.tracer.core, engine, "client_request", monotonic_ns())
        context.tracer.perform()
        raise
    return api.Started(trace=trace.id, backend=BACKEND, reason=_reason(installation))


def _program(trace: Trace) -> bytes:
    """Return the filter; raises LimitExceeded, and Unsupported where the kernel has none."""
    missing = unavailable()
    if missing is not None:
        raise Unsupported(missing, feature=FEATURE, hint="Use backend ptrace, or auto.")
    try:
        return assemble(trace.selection)
    except ValueError as error:
        raise LimitExceeded(str(error), limit="filter", value=MOST, hint="Select fewer calls, or all.") from error


def _examine(target: Target, context: Context) -> None:
    """Refuse a process whom the calls that bring the filter might end; raises Unsupported.

    In strict mode SIGKILL answers them.  And what filters of its own say of them only they know: as many as we have
    are a container's, say, which has let us come so far.
    """
    known = context.tracer.core.processes.get(target.pid)
    ours = known.filters if known is not None else 0
    with Process(target.pid, target.start_time) as process, Process(os.getpid()) as own:
        mode, filters = _seccomp(process)
        if mode == STRICT or filters > ours + _seccomp(own)[1]:
            raise _refused(f"process {target.pid} is under a seccomp filter already, that might end it for this")
        threads = process.stat().threads
        if threads > 1:
            raise _refused(f"process {target.pid} has {threads} threads: a filter is put in where there is one")


def _seccomp(process: Process) -> tuple[int, int]:
    """Return a process's mode and how many filters it has, of which Linux tells since 5.9: one is assumed before."""
    lines = dict(line.split(b":", 1) for line in process.read("status").split(b"\n") if b":" in line)
    mode = int(lines.get(b"Seccomp", b"0"))
    return mode, int(lines.get(b"Seccomp_filters", b"%d" % (mode == STRICT + 1)))


async def _installed(context: Context, installation: Installation) -> None:
    """Wait for the filter to be there; raises Unsupported."""
    waited = 0.0
    while installation.outstanding and waited < CALM:
        await context.waits.over(installation, PATIENCE)
        waited += PATIENCE
    if installation.outstanding:
        raise _refused("the process makes no system call, where a filter could be put in")
    if installation.failure is not None:
        raise _refused(f"no filter could be put in: {installation.failure}")


def _refused(why: str) -> Unsupported:
    return Unsupported(why, feature=FEATURE, hint="Use backend ptrace: it needs no filter.")


def _reason(installation: Installation) -> str:
    """Return that it was asked for, and at what price."""
    return "; ".join([backends.ASKED, BOUND, *([DEPRIVED] if installation.deprived else [])])
