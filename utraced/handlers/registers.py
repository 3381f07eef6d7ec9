"""registers.read and registers.write."""

from __future__ import annotations

from utraced.api import registers as api
from utraced.errors import Contended, InvalidParams, NotHeld
from utraced.kernel import registers, set_registers
from utraced.model import Empty
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.process import Tracee

from .context import Context, handles


@handles(api.Read)
def read(params: api.Read, context: Context) -> api.Registers:
    """Read register sets of a held thread."""
    tracee = _held(context.session.engine(params.engine), params.tid, context)
    wanted = set(params.set)
    return api.Registers(
        general=registers.general(tracee.tid) if "general" in wanted else None,
        fp=registers.floating_point(tracee.tid) if "fp" in wanted else None,
        xstate=registers.extended(tracee.tid) if "xstate" in wanted else None,
        debug=registers.debug(tracee.tid) if "debug" in wanted else None,
    )


@handles(api.Write)
def write(params: api.Write, context: Context) -> Empty:
    """Write registers of a held thread."""
    engine = context.session.engine(params.engine)
    tracee = _held(engine, params.tid, context)
    others = [other for other in tracee.holders if other is not engine]
    if others:
        owner = others[0].owner
        raise Contended(f"session {owner.session} holds thread {tracee.tid} too", holder=owner.holder)
    if params.fp is not None and params.xstate is not None:
        raise InvalidParams("fp and xstate exclude each other", member="fp", hint="xstate begins with what fp names.")
    set_registers.write(tracee.tid, general=params.general, fp=params.fp, xstate=params.xstate, debug=params.debug)
    return Empty()


def _held(engine: Engine, tid: int, context: Context) -> Tracee:
    """Return a thread that the engine holds; raises NotHeld, NoSuchProcess."""
    tracee = control.tracee_of(context.tracer.core, engine.process, tid)
    if engine not in tracee.holders or not tracee.stopped:
        raise NotHeld(f"thread {tid} is not held by engine {engine.id}", tid=tid)
    return tracee
