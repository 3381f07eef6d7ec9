"""The daemon itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from utraced.model import Peer, Value
from utraced.rpc.method import Method

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
    """Whether something works here.  ``available``: it does.  ``reason``: why not."""

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


class Hello(Method[Welcome], frozen=True):
    """Introduce the client and learn about the daemon; optional, every method works without it.

    ``client``: what the client calls itself, for others to see.
    """

    method = "daemon.hello"

    client: Annotated[str, Meta(max_length=200)] | None = None
