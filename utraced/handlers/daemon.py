"""daemon.hello."""

from __future__ import annotations

import os
import pwd
from functools import cache

from utraced.api import daemon as api
from utraced.kernel.denied import yama_scope
from utraced.version import VERSION

from .context import Context, handles
from .limits import MAX_BATCH, MAX_FDS, MAX_PACKET, MAX_READ, MAX_VALUES, MAX_WAITING


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
        target_user=_user(os.geteuid()),
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
        features=_features(),
    )


@cache
def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


@cache
def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


@cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@cache
def _features() -> dict[str, api.Feature]:
    """Tell what works here, and why not, as it stood when first asked."""
    scope = yama_scope()
    reasons = {
        1: "kernel.yama.ptrace_scope is 1: only what was started with utracectl, or named this tracer",
        2: "kernel.yama.ptrace_scope is 2: only root may trace",
        3: "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot",
    }
    root = os.geteuid() == 0
    running = scope == 0 or (root and scope < 3)
    started = scope <= 1 or (root and scope < 3)
    return {
        "attach_running": api.Feature(available=running, reason=None if running else reasons[scope]),
        "attach_started": api.Feature(available=started, reason=None if started else reasons[scope]),
        "backend.ptrace": api.Feature(available=started, reason=None if started else reasons[scope]),
    }
