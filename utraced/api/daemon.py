"""The daemon itself."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import Cancelled, DeniedReason, NoSuchProcess, PermissionDenied, TimedOut
from utraced.model import Peer, Value
from utraced.rpc.method import Method, TargetMethod

PROTOCOL = 1
"""The version that PROTOCOL.md describes."""


class Limits(Value, frozen=True):
    """What one connection may ask for; sizes in bytes, null is unlimited.

    ``max_packet``: of a packet, either way; ``max_batch``: requests in a batch; ``max_values``: names, numbers, texts,
    arrays and objects in a packet of the client's; ``max_fds``: descriptors in a packet; ``max_read``: memory in one
    reply; ``max_queue``: events that wait for the client before observations are lost, and threads wait;
    ``max_waiting``: requests at the same time that wait for their answer; ``max_sessions``: of one user;
    ``max_tracees``: threads that are traced at the same time, of a new process all or none; ``stall_seconds``: after
    that time without reading what waits for it a client is disconnected.
    """

    max_packet: int
    max_batch: int
    max_values: int
    max_fds: int
    max_read: int
    max_queue: int
    max_waiting: int
    max_sessions: int
    max_tracees: int
    stall_seconds: int | None


class Feature(Value, frozen=True):
    """Whether something works here.  ``available``: it does.  ``reason``: why not, or what is different with it."""

    available: bool
    reason: str | None = None


class Welcome(Value, frozen=True):
    """Who answers, as whom it traces, and what works here.

    ``server``: always ``utraced``.  ``version``: of the daemon.  ``protocol``: the version of the protocol.
    ``session``: the number of this connection.  ``boot_id``: tells one start of the machine from another.  ``peer``:
    the client, as the kernel sees it.  ``target_user``: as whom it traces.  ``access``: ``full``, or ``observe`` where
    the session may only look.  ``tracer_pid``: the process that will call ptrace (for PR_SET_PTRACER).
    ``pid_namespace``: the inode of the one in which all pids are to be understood.  ``limits``: what a connection may
    ask for.  ``features``: what works here, by name.
    """

    server: str
    version: str
    protocol: int
    session: int
    boot_id: str
    peer: Peer
    target_user: str
    access: str
    tracer_pid: int
    pid_namespace: int
    limits: Limits
    features: dict[str, Feature]


Verdict = Literal["works", "limited", "no", "unknown"]


class Finding(Value, frozen=True):
    """One thing that was looked at.

    ``subject``: what it is about, as ``privileges``, ``yama`` or ``tracer``.  ``verdict``: whether it works, works in
    part, stands in the way, or could not be found out.  ``text``: what was found, in plain words.  ``hint``: what to do
    about it.  ``reason``: of what stands in the way of a process, the reason that ``permission_denied`` gives.
    ``feature``: the name under which ``daemon.hello`` tells the same.
    """

    subject: str
    verdict: Verdict
    text: str
    hint: str | None = None
    reason: DeniedReason | None = None
    feature: str | None = None


class Checked(Value, frozen=True):
    """What works here, and why not.

    ``findings``: about the daemon and the machine.  ``conclusion``: whether the process asked for can be traced, or,
    where none was asked for, whether any can.  ``process``: about the process asked for, all that stands in its way and
    not only what a refusal would tell; absent where none was asked for.
    """

    findings: tuple[Finding, ...]
    conclusion: Finding
    process: tuple[Finding, ...] | None = None


class Check(TargetMethod[Checked], frozen=True):
    """Find out what works here and what not, why, and what to do; of a process too, where one is named.

    Nothing is attached to and nothing changed.  What the kernel can be asked it is asked, so that this may differ from
    what users, groups and settings alone would let one expect; the findings then say so.
    """

    method = "daemon.check"
    errors = (NoSuchProcess, PermissionDenied, Cancelled, TimedOut)


class Hello(Method[Welcome], frozen=True):
    """Introduce the client and learn about the daemon; optional, every method works without it.

    ``client``: what the client calls itself, for others to see.
    """

    method = "daemon.hello"

    client: Annotated[str, Meta(max_length=200)] | None = None
