"""Sessions: who is connected and holds what, and a mark in one's own stream of events."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from utraced.errors import Cancelled
from utraced.model import Empty, Peer, Value
from utraced.rpc.method import Method

Token = Annotated[str, Meta(max_length=200)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Holding(Value, frozen=True):
    """A process that a session has an engine on, or traces.

    ``pid``: the process.  ``engine``, ``trace``: whose it is.  ``held``: the threads it holds, at most 100.
    """

    pid: int
    engine: int | None = None
    trace: int | None = None
    held: tuple[int, ...] = ()


class SessionEntry(Value, frozen=True):
    """A session: its client, how many engines and traces it has, and on which processes, at most 100.

    ``session``: its number.  ``peer``: the client, as the kernel sees it.  ``engines``, ``traces``: how many it has.
    ``holdings``: on which processes.  ``command`` is the client's name as the kernel has it, ``client`` as it
    introduced itself; ``queued`` are the bytes of events and replies that it has not read.
    """

    session: int
    peer: Peer
    queued: int
    engines: int
    traces: int
    command: str | None = None
    client: str | None = None
    holdings: tuple[Holding, ...] = ()


class Sessions(Value, frozen=True):
    """Sessions in order of their numbers: ``sessions``; ``next``, where there are more, the next page's ``cursor``."""

    sessions: tuple[SessionEntry, ...]
    next: int | None = None


class List(Method[Sessions], frozen=True):
    """List the sessions of this worker and what each holds: to root all, to others those of their user.

    ``cursor``: go on with the page that a former reply named in ``next``; at most ``limit`` of them.
    """

    method = "session.list"

    cursor: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None


class Sync(Method[Empty], frozen=True):
    """Put an event ``sync`` with ``token`` into this session's stream; the reply follows it."""

    method = "session.sync"
    follows = True
    errors = (Cancelled,)

    token: Token | None = None
