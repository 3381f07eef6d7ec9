"""A session: what one connection holds, and the stream of events it is told.  No I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from utraced.api import events
from utraced.api.events import Event
from utraced.errors import Gone, NoSuchObject
from utraced.model import Peer, Status
from utraced.rpc.encoding import JSON, Encoding
from utraced.rpc.packet import Packet
from utraced.tracing import control
from utraced.tracing.engine import Engine
from utraced.tracing.trace import Trace

from .limits import MAX_BATCH, MAX_PACKET, MAX_QUEUE

if TYPE_CHECKING:
    from utraced.kernel.tracer import Tracer

PACKET_SIZE = 28_000
"""Bytes of events in a packet: seven such packets fit a socket's default buffer, of 128 KiB only two."""
EVENT_SIZE = 280
"""About the bytes of an event without strings and memory."""
REMEMBERED = 1000
"""Ended objects of which we still know how they ended."""


class _Notification(Struct, gc=False):
    """An event as it goes out."""

    params: Event
    jsonrpc: str = "2.0"
    method: str = "event"


Reason = Literal["client_request", "session_closed", "daemon_stopping"]


class Session:
    """One connection's engines and traces, and its outgoing packets.

    ``fellows`` are all sessions of this worker by number, itself among them.
    ``creating`` counts requests whose reply will bring a new id: until it is sent, events wait behind it.
    ``urgent``: there are events that should not wait for more to go with them.
    """

    def __init__(self, session: int, peer: Peer, tracer: Tracer) -> None:
        self.session = session
        self.peer = peer
        self.tracer = tracer
        self.encoding: Encoding = JSON
        self.client: str | None = None
        self.fellows: dict[int, Session] = {session: self}
        self.stall_seconds: int | None = None
        self.engines: dict[int, Engine] = {}
        self.traces: dict[int, Trace] = {}
        self.ended: dict[int, Status | None] = {}
        self.packets: deque[Packet] = deque()
        self.creating = 0
        self.urgent = False
        self._next_id = 1
        self._seq = 0
        self._batch: list[_Notification] = []
        self._batch_size = 0
        self._queued = 0

    # Objects

    def new_id(self) -> int:
        """Return an id that was never used in this session."""
        self._next_id += 1
        return self._next_id - 1

    def engine(self, number: int) -> Engine:
        """Return an engine of this session; raises Gone, NoSuchObject."""
        engine = self.engines.get(number)
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
        if number < self._next_id:
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
        while len(self.ended) >= REMEMBERED:
            del self.ended[next(iter(self.ended))]
        self.ended[number] = engine.process.status

    def engines_of(self, trace: Trace) -> list[Engine]:
        """Return a trace's engines."""
        processes = self.tracer.core.processes.values()
        return [engine for process in processes for engine in process.engines if engine.trace is trace]

    def close(self, reason: Reason, time_ns: int) -> None:
        """Undo everything: engines and traces end, holds go."""
        for process in list(self.tracer.core.processes.values()):
            for engine in [engine for engine in process.engines if engine.owner is self]:
                control.detach(self.tracer.core, engine, reason, time_ns)
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
        if type(event) is not events.Syscall and type(event) is not events.SyscallEntry:
            self.urgent = True
        elif event.strings is not None or event.memory is not None:
            self._batch_size += _contents_size(event)
        if self._batch_size >= PACKET_SIZE and not self.creating:
            self.close_batch()

    def _admit(self, event: Event, trace: Trace) -> bool:
        """Tell whether an event of a trace is to be queued, after the count of those lost before it."""
        if type(event) is events.Syscall:
            if self._queued > MAX_QUEUE and not trace.block:
                trace.dropped += 1
                return False
            trace.delivered += 1
        elif type(event) is events.SyscallEntry and self._queued > MAX_QUEUE and not trace.block:
            return False
        if trace.dropped:
            self._tell_lost(trace)
        if type(event) is events.Detached:
            event.delivered, event.lost = trace.delivered, trace.lost
        return True

    def _tell_lost(self, trace: Trace) -> None:
        count, trace.dropped = trace.dropped, 0
        trace.lost += count
        self.tell(events.Lost(trace=trace.id, count=count))

    def congested(self) -> bool:
        """Tell whether the client reads too slowly for more to be queued."""
        return self._queued > MAX_QUEUE

    # Packets

    def reply(self, packets: list[Packet]) -> None:
        """Queue replies behind the events told before, except while a reply that brings a new id is awaited."""
        if not self.creating:
            self.close_batch()
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
        if self._queued > MAX_QUEUE:
            self.tracer.congested.add(self)

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
        self.packets.append(Packet(data))

    def flush(self) -> None:
        """Put what there is into packets, unless a reply must come first."""
        if not self.creating:
            self.close_batch()

    @property
    def unsent(self) -> bool:
        """Whether there are events not yet in a packet that may be sent."""
        return bool(self._batch) and not self.creating

    def sent(self, packet: Packet) -> None:
        """Note that a packet is off; when the client has caught up, its targets go on."""
        # Replies were not counted in, so they may take out more than there is.
        self._queued = max(0, self._queued - len(packet.data))
        if self in self.tracer.congested and self._queued < MAX_QUEUE // 2:
            self.tracer.relieve(self)


def _contents_size(event: events.Syscall | events.SyscallEntry) -> int:
    """Return about how many bytes the strings and memory of an event take."""
    size = 0
    if event.strings is not None:
        size += sum(len(text.text) + 2 * len(text.bytes or b"") for text in event.strings.values())
    if event.memory is not None:
        size += sum(60 + 2 * len(fragment.data) for fragment in event.memory)
    return size
