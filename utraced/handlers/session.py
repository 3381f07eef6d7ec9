"""A session: what one connection holds, and the stream of events it is told.  No I/O."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from time import monotonic_ns
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from utraced.api import events
from utraced.api import session as api
from utraced.api.events import Event
from utraced.audit import Audit, Trail
from utraced.configuration import Limits
from utraced.errors import Gone, NoSuchObject
from utraced.kernel.proc import comm_of
from utraced.model import Empty, Holder, Peer, SessionAccess, Status, text_of
from utraced.observing.trace import Trace
from utraced.rpc.encoding import JSON, Encoding
from utraced.rpc.packet import Packet
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.pressure import OBSERVATIONS

from .braking import Brake
from .context import Context, handles
from .limits import HELD_QUEUES, MAX_BATCH, MAX_PACKET, MAX_REPLIES
from .page import fitting
from .recorder import NO_RECORDER

if TYPE_CHECKING:
    from utraced.kernel.tracer import Tracer
    from utraced.observing.recorded import Recorded

    from .recorder import Recorder

PACKET_SIZE = 28_000
"""Bytes of events in a packet: seven such packets fit a socket's default buffer, of 128 KiB only two."""
DEFAULTS = Limits()
EVENT_SIZE = 280
"""About the bytes of an event without strings and memory."""
SHOWN = 100
"""Processes of a session, and threads of a process, that session.list names."""
REMEMBERED = 1000
"""Ended objects of which we still know how they ended."""


class EventPacket(Packet):
    """A packet of events."""

    __slots__ = ()


class _Notification(Struct, gc=False):
    """An event as it goes out."""

    params: Event
    jsonrpc: str = "2.0"
    method: str = "event"


Reason = Literal["client_request", "session_closed", "daemon_stopping"]


class Session:
    """One connection's engines and traces, and its outgoing packets.

    ``fellows`` are all sessions of this worker by number, itself among them.  ``access`` is ``observe`` where it may
    only look.  ``kin`` are the daemon's other processes.  ``socket`` is where it connected, "" where that has no name.
    ``creating`` counts requests whose reply will bring a new id: until it is sent, events wait behind it.
    ``urgent``: there are events that should not wait for more to go with them.
    ``stirred``: where it notes that it has something to send; the worker's sessions share it.
    ``trail`` is where it is told what this session does.
    """

    def __init__(
        self, session: int, peer: Peer, tracer: Tracer, limits: Limits = DEFAULTS, *, trail: Trail | None = None
    ) -> None:
        self.session = session
        self.peer = peer
        self.tracer = tracer
        self.limits = limits
        self.trail = trail or Audit().trail(peer, None)
        self.encoding: Encoding = JSON
        self.client: str | None = None
        self.access: SessionAccess = "full"
        self.kin: frozenset[int] = frozenset()
        self.socket = ""
        self.fellows: dict[int, Session] = {session: self}
        self.engines: dict[int, Engine] = {}
        self.traces: dict[int, Trace] = {}
        self.recorder: Recorder = NO_RECORDER
        self.recordings: dict[int, Recorded] = {}
        self.ended: dict[int, Status | None] = {}
        self.packets: deque[Packet] = deque()
        self.creating = 0
        self.urgent = False
        self.stirred: set[Session] = set()
        self._later: list[Packet] = []
        self._next_id = 1
        self._seq = 0
        self._batch: list[_Notification] = []
        self._batch_size = 0
        self._queued = 0
        self._replies = 0
        self._behind = False

    @cached_property
    def holder(self) -> Holder:
        """Who this is to others that share a process: asked for each thread, and so looked up once."""
        comm = comm_of(self.peer.pid)
        return Holder(session=self.session, pid=self.peer.pid, comm=None if comm is None else text_of(comm))

    # Objects

    def new_id(self) -> int:
        """Return an id that was never used in this session."""
        self._next_id += 1
        return self._next_id - 1

    def engine(self, number: int) -> Engine:
        """Return an engine of this session; raises Gone, NoSuchObject."""
        engine = self.engines.get(number)
        if engine is not None:
            self.tracer.catch_up(engine.process)
            engine = self.engines.get(number)  # it may have ended
        if engine is None:
            raise self._missing("engine", number)
        return engine

    def trace(self, number: int) -> Trace:
        """Return a trace of this session; raises Gone, NoSuchObject."""
        trace = self.traces.get(number)
        if trace is None:
            raise self._missing("trace", number)
        return trace

    def _missing(self, what: str, number: int) -> Gone | NoSuchObject:
        if number in self.ended:
            return Gone(f"{what} {number} has ended", status=self.ended[number])
        if number < self._next_id and number not in self.engines and number not in self.traces:
            return Gone(f"{what} {number} has ended")
        return NoSuchObject(f"there is no {what} {number} in this session")

    def engine_id(self, engine: Engine) -> int:
        """Take a new engine, made by following, and return its id."""
        number = self.new_id()
        self.engines[number] = engine
        return number

    def retire(self, engine: Engine) -> None:
        """Note that an engine, or a trace's last engine, has ended."""
        number = engine.id if engine.trace is None else engine.trace.id
        self.engines.pop(number, None)
        self.traces.pop(number, None)
        self._note_end(number, engine.process.status)

    def _note_end(self, number: int, status: Status | None) -> None:
        while len(self.ended) >= REMEMBERED:
            del self.ended[next(iter(self.ended))]
        self.ended[number] = status

    def retire_recording(self, recorded: Recorded) -> None:
        """Note that a trace that the kernel recorded has ended."""
        number = recorded.trace.id
        self.recordings.pop(number, None)
        self.traces.pop(number, None)
        self._note_end(number, recorded.status)

    def engines_of(self, trace: Trace) -> list[Engine]:
        """Return a trace's engines."""
        return [engine for engine in self.tracer.core.engines() if engine.trace is trace]

    def close(self, reason: Reason, time_ns: int) -> None:
        """Undo everything: engines and traces end, holds go."""
        for process in list(self.tracer.core.processes.values()):
            self.tracer.catch_up(process)
        for engine in self.tracer.core.engines():
            if engine.owner is self:
                control.detach(self.tracer.core, engine, reason, time_ns)
        for recorded in list(self.recordings.values()):
            self.recorder.drop(recorded)
            recorded.end(reason, time_ns)
        self.recordings.clear()
        self.tracer.relieve(self)
        self.tracer.perform()

    # Events

    def tell(self, event: Event) -> None:
        """Queue an event; a trace's observations are dropped, and counted, where the client reads too slowly."""
        if event.trace is not None:
            trace = self.traces.get(event.trace)
            if trace is not None and not self._admit(event, trace):
                return
        self._seq = event.seq = self._seq + 1
        self._batch.append(_Notification(event))
        self._batch_size += EVENT_SIZE
        self.stirred.add(self)
        if type(event) is events.Records:
            self._batch_size += len(event.data) * 4 // 3
        elif type(event) is not events.Syscall and type(event) is not events.SyscallEntry:
            self.urgent = True
            if type(event) is events.Clone and event.untraced is not None:
                self.trail.exceeded("tracees", self.limits.tracees, pid=event.child_pid)
        elif event.strings is not None or event.memory is not None:
            self._batch_size += _contents_size(event)
        if self._batch_size >= PACKET_SIZE and not self.creating:
            self.close_batch()

    def _admit(self, event: Event, trace: Trace) -> bool:
        """Tell whether an event of a trace is to be queued, after the count of those lost before it."""
        kind = type(event)
        if kind in OBSERVATIONS:
            if not trace.block and self.congested():
                # An entry is not counted: its call will be.
                trace.dropped += _amount(event) if kind is not events.SyscallEntry else 0
                return False
            trace.delivered += _amount(event) if kind in {events.Syscall, events.Records} else 0
        if trace.dropped:
            self._tell_lost(trace)
        if kind is events.Detached and not trace.processes:
            event.delivered, event.lost = trace.delivered, trace.lost  # type: ignore[attr-defined]
        return True

    def _tell_lost(self, trace: Trace) -> None:
        count, trace.dropped = trace.dropped, 0
        trace.lost += count
        self.tell(events.Lost(trace=trace.id, count=count, time_ns=monotonic_ns()))

    def congested(self) -> bool:
        """Tell whether the client reads too slowly for more to be queued."""
        if self._queued + self._batch_size > self.limits.queue_bytes:
            self._behind = True
            return True
        return False

    def _catch_up(self) -> None:
        """Let the targets go on, and tell what was lost meanwhile."""
        self._behind = False
        for trace in list(self.traces.values()):
            if trace.dropped:
                self._tell_lost(trace)
        self.tracer.relieve(self)

    @property
    def queued(self) -> int:
        """The bytes that wait for the client, about."""
        return self._queued + self._batch_size + self._replies

    @property
    def excessive(self) -> bool:
        """Whether more waits for the client than may, as there was nothing that could be held back."""
        return self._queued + self._batch_size > HELD_QUEUES * self.limits.queue_bytes

    @property
    def deaf(self) -> bool:
        """Whether so many replies wait for the client that no more of its requests are to be taken."""
        return self._replies > MAX_REPLIES

    # Packets

    def reply(self, packets: list[Packet], *, follows: bool = False) -> None:
        """Queue replies behind the events told before.

        While a reply that brings a new id is awaited events wait, and of the replies only those that follow them.
        """
        for packet in packets:
            self._replies += len(packet.data)
        if not self.creating:
            self.flush()
        elif follows:
            self._later += packets
            return
        self.packets.extend(packets)

    def close_batch(self) -> None:
        """Put the events gathered so far into packets."""
        batch = self._batch
        if not batch:
            return
        self._batch = []
        self._batch_size = 0
        self.urgent = False
        for start in range(0, len(batch), MAX_BATCH):
            self._pack(batch[start : start + MAX_BATCH])

    def _pack(self, batch: list[_Notification]) -> None:
        """Make a packet of events, or more where they do not fit one."""
        data = self.encoding.encode(batch[0] if len(batch) == 1 else batch)
        if len(data) > MAX_PACKET:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._pack(batch[:middle])
                self._pack(batch[middle:])
                return
            # One call that points to more than a packet carries: it is told without that.
            event = batch[0].params
            if isinstance(event, events.Syscall | events.SyscallEntry):
                event.strings = event.memory = None
            data = self.encoding.encode(batch[0])
        self._queued += len(data)
        self.packets.append(EventPacket(data))

    def flush(self) -> None:
        """Put what there is into packets, unless a reply must come first."""
        if not self.creating:
            self.close_batch()
            if self._later:
                self.packets.extend(self._later)
                self._later.clear()

    @property
    def unsent(self) -> bool:
        """Whether there are events not yet in a packet that may be sent."""
        return bool(self._batch) and not self.creating

    def sent(self, packet: Packet) -> None:
        """Note that a packet is off; when the client has caught up, its targets go on."""
        if type(packet) is not EventPacket:
            self._replies -= len(packet.data)
            return
        self._queued -= len(packet.data)
        if self._behind and self._queued + self._batch_size < self.limits.queue_bytes // 2:
            self._catch_up()


def _amount(event: Event) -> int:
    """Return how many observations an event is."""
    return event.count if isinstance(event, events.Records) else 1


def _contents_size(event: events.Syscall | events.SyscallEntry) -> int:
    """Return about how many bytes the strings and memory of an event take."""
    size = 0
    if event.strings is not None:
        size += sum(len(text.text) + 2 * len(text.bytes or b"") for text in event.strings.values())
    if event.memory is not None:
        size += sum(60 + 2 * len(fragment.data) for fragment in event.memory)
    return size


@handles(api.List)
def list_sessions(params: api.List, context: Context) -> api.Sessions:
    """List sessions and what they hold."""
    asking = context.session
    held = _holdings(asking)
    entries = (
        _entry(session, held.get(session.session, []))
        for session in list(asking.fellows.values())
        if session.session >= (params.cursor or 0) and asking.peer.uid in {0, session.peer.uid}
    )
    page, more = fitting(entries, params.limit)
    return api.Sessions(sessions=page, next=None if more is None else more.session)


def _entry(session: Session, holdings: list[api.Holding]) -> api.SessionEntry:
    comm = comm_of(session.peer.pid)
    return api.SessionEntry(
        session=session.session,
        peer=session.peer,
        command=None if comm is None else text_of(comm),
        client=session.client,
        queued=session.queued,
        engines=len(session.engines),
        traces=len(session.traces),
        holdings=tuple(holdings[:SHOWN]),
    )


def _holdings(asking: Session) -> dict[int, list[api.Holding]]:
    """Return what each session holds, by its number."""
    found: dict[int, list[api.Holding]] = {}
    for engine in asking.tracer.core.engines():
        process = engine.process
        held = [tracee.tid for tracee in process.tracees.values() if engine in tracee.holders]
        trace = engine.owner.trace if isinstance(engine.owner, Brake) else engine.trace
        number = None if trace is None else trace.id
        found.setdefault(engine.owner.session, []).append(
            api.Holding(pid=process.pid, engine=engine.id or None, trace=number, held=tuple(held[:SHOWN]))
        )
    return found


@handles(api.Sync)
def sync(params: api.Sync, context: Context) -> Empty:
    """Mark the stream of events."""
    context.session.tell(events.Sync(token=params.token, time_ns=monotonic_ns()))
    return Empty()
