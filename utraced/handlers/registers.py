"""registers.read."""

from __future__ import annotations

from utraced.api import registers as api
from utraced.errors import NotHeld
from utraced.kernel import registers
from utraced.tracing import control

from .context import Context, handles


@handles(api.Read)
def read(params: api.Read, context: Context) -> api.Registers:
    """Read register sets of a held thread."""
    engine = context.session.engine(params.engine)
    tracee = control.tracee_of(context.tracer.core, engine.process, params.tid)
    if engine not in tracee.holders or not tracee.stopped:
        raise NotHeld(f"thread {params.tid} is not held by engine {engine.id}", tid=params.tid)
    wanted = set(params.set)
    return api.Registers(
        general=registers.general(tracee.tid) if "general" in wanted else None,
        fp=registers.floating_point(tracee.tid) if "fp" in wanted else None,
        xstate=registers.extended(tracee.tid) if "xstate" in wanted else None,
        debug=registers.debug(tracee.tid) if "debug" in wanted else None,
    )
