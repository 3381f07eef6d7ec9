"""The daemon itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from utraced.model import Peer, Value
from utraced.rpc.method import Method


class Limits(Value, frozen=True):
    """What one connection may ask for; sizes in bytes, null is unlimited."""

    max_packet: int
    max_batch: int
    max_fds: int
    max_read: int
    max_queue: int


class Feature(Value, frozen=True):
    """Whether something works here, and if not, why."""

    available: bool
    reason: str | None = None


class Welcome(Value, frozen=True):
    """Who answers, as whom it traces, and what works here.

    ``tracer_pid`` is the process that will call ptrace (for PR_SET_PTRACER), ``access`` is ``full`` or ``observe``,
    ``pid_namespace`` the inode in which all pids are to be understood.
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
    """Introduce the client and learn about the daemon; optional, every method works without it."""

    method = "daemon.hello"

    client: Annotated[str, Meta(max_length=200)] | None = None
