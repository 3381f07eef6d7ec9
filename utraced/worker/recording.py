"""Reads what the kernel records for this worker's traces, by a timer, and speaks with the attacher."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import anyio
import msgspec

from utraced.api.call_records import BadRecord
from utraced.errors import UtracedError
from utraced.handlers.recorder import unsupported
from utraced.kernel.bpf_ring import Ring
from utraced.kernel.btf import VMLINUX
from utraced.kernel.recorder_requests import NEEDED, End, Record, Serve, requests
from utraced.kernel.recorder_requests import Recorded as Answer
from utraced.linux import sockets
from utraced.linux.closing import close_aside
from utraced.linux.identity import Identity
from utraced.rpc.connection import Connection
from utraced.rpc.message import Response
from utraced.rpc.packet import Packet
from utraced.tracing.recorded import Reason, Recorded

log = logging.getLogger("utraced")

INTERVAL = 0.01
"""Seconds between looks into the rings: the kernel wakes nobody, which would cost the target a multiple."""
LASTING_NS = 5_000_000
"""Nanoseconds after which a call is told of that has not returned."""
TURN_NS = 5_000_000
"""Nanoseconds of decoding before the loop turns."""
MOST_HELD = 256 << 20
"""Bytes of a trace's records that wait to be decoded; beyond, they stay in the ring, and what finds no room is lost."""
_MAX_PACKET = 64 << 10

CAPABILITIES = "it needs the capabilities BPF, PERFMON, SYS_PTRACE, SETUID, SETGID and SETPCAP"

StartAttacher = Callable[[], "socket.socket | None"]


class _Reading:
    """A recording that is being read."""

    def __init__(self, recorded: Recorded, number: int, ring: Ring) -> None:
        self.recorded = recorded
        self.number = number
        self.ring = ring
        self._taken: deque[bytes] = deque()
        self._held = 0

    def fetch(self) -> None:
        """Take what the kernel wrote, so that there is room for more: decoding it takes twenty times as long."""
        while self._held < MOST_HELD and (data := self.ring.take()):
            self._taken.append(data)
            self._held += len(data)

    @property
    def empty(self) -> bool:
        """Whether everything is told that was written."""
        return not self._taken and not self.ring.waiting

    def read(self, until_ns: int, *, whole: bool = False) -> bool:
        """Tell of records until there are none, and return True, or until it is late, or the client reads too slowly.

        ``whole``: never mind the client.
        """
        recorded = self.recorded
        trace = recorded.trace
        self.fetch()
        while self._taken and not recorded.ended:
            if trace.block and not whole and trace.owner.congested():
                return False
            data = self._taken.popleft()
            self._held -= len(data)
            try:
                recorded.take(data, lambda: self.ring.counters().entries)
            except BadRecord:
                log.exception("the records of trace %d are damaged", trace.id)
            if monotonic_ns() > until_ns:
                break
        return recorded.ended or self.empty


class Recorder:
    """See ``handlers.recorder.Recorder``.

    ``start`` starts the attacher, ``identity`` is whom it asks for; ``told`` is called when events were told.
    """

    def __init__(self, start: StartAttacher, identity: Identity) -> None:
        self._start = start
        self._identity = identity
        self._control: socket.socket | None = None
        self._attacher: socket.socket | None = None
        self._connection = Connection(requests())
        self._answers: dict[int, tuple[anyio.Event, list[Response]]] = {}
        self._readings: dict[Recorded, _Reading] = {}
        self._reason = _missing(identity)
        self.told: Callable[[], None] = lambda: None
        self._some = anyio.Event()
        self._asked = anyio.Event()

    def unavailable(self) -> str | None:
        """See ``handlers.recorder.Recorder``."""
        return self._reason

    async def begin(self, request: Record, pidfd: int, recorded: Recorded) -> None:
        """See ``handlers.recorder.Recorder``."""
        answer, fds = await self._ask(request, (pidfd,))
        try:
            ring = Ring(fds[answer.ring], fds[answer.counters], answer.ring_size)
        finally:
            for fd in fds:
                os.close(fd)
        self._readings[recorded] = _Reading(recorded, answer.recording, ring)
        self._some.set()

    async def finish(self, recorded: Recorded, reason: Reason) -> None:
        """See ``handlers.recorder.Recorder``."""
        reading = self._readings.get(recorded)
        if reading is None:
            return
        with contextlib.suppress(UtracedError):
            await self._ask(End(recording=reading.number))
        # Nothing is written any more, so this ends.
        while not reading.read(monotonic_ns() + TURN_NS):
            self.told()
            await anyio.sleep(INTERVAL if recorded.trace.owner.congested() else 0)
        self._close(reading, reason)

    def drop(self, recorded: Recorded) -> None:
        """See ``handlers.recorder.Recorder``."""
        reading = self._readings.pop(recorded, None)
        if reading is None:
            return
        reading.ring.close()
        self._end(reading.number)

    async def run(self) -> None:
        """Read for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            while True:
                await self._some.wait()
                self._some = anyio.Event()
                while self._readings:  # noqa: ASYNC110 - the kernel tells nobody
                    await anyio.sleep(0 if self.look() else INTERVAL)

    def look(self) -> bool:
        """Tell what has been recorded since the last look; return whether there is more to be told at once."""
        now = monotonic_ns()
        more = False
        for reading in list(self._readings.values()):
            # Asked before the last records are read: what a process wrote stands there before it is counted out.
            over = reading.ring.counters().processes < 0
            emptied = reading.read(now + TURN_NS)
            if over and emptied:
                self._end(reading.number)
                self._close(reading, "target_exited")
            elif emptied:
                reading.recorded.overdue(now - LASTING_NS)
            else:
                more |= not reading.recorded.trace.owner.congested()
        self.told()
        return more

    def close(self) -> None:
        """Let go of the attacher, which ends then."""
        for recorded in list(self._readings):
            self.drop(recorded)
        for sock in (self._attacher, self._control):
            if sock is not None:
                sock.close()
        self._attacher = self._control = None

    def _close(self, reading: _Reading, reason: Reason) -> None:
        """Tell that a trace is over, and forget it."""
        self._readings.pop(reading.recorded, None)
        counters = reading.ring.counters()
        reading.recorded.count_dropped(counters.entries)
        reading.recorded.count_records(counters.dropped)
        reading.ring.close()
        reading.recorded.end(reason, monotonic_ns())

    # The attacher

    def _end(self, number: int) -> None:
        """Tell the attacher that a recording is over; it does so by itself where we go."""
        if self._attacher is None:
            return
        request_id, packet = self._connection.request(End(recording=number))
        self._answers[request_id] = anyio.Event(), []
        with contextlib.suppress(OSError):
            sockets.send(self._attacher, packet.data)

    async def _ask(self, call: Any, fds: tuple[int, ...] = ()) -> tuple[Any, tuple[int, ...]]:
        """Return the attacher's answer and its descriptors; raises what it raises, and Unsupported without one."""
        attacher = self._connected()
        request_id, packet = self._connection.request(call, fds)
        answered, box = anyio.Event(), list[Response]()
        self._answers[request_id] = answered, box
        try:
            sockets.send(attacher, packet.data, packet.fds)
        except OSError as error:
            raise unsupported("the attacher has ended") from error
        self._asked.set()
        try:
            await answered.wait()
        except BaseException:
            self._answers.pop(request_id, None)  # what still comes is for nobody
            raise
        if not box:
            raise unsupported("the attacher has ended")
        (response,) = box
        return response.value(), tuple(response.descriptors.unclaimed())

    def _connected(self) -> socket.socket:
        """Return the connection to the attacher, which is started where there is none."""
        if self._attacher is not None:
            return self._attacher
        control = self._start()
        if control is None:
            raise unsupported(self._reason or CAPABILITIES)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            sockets.send(control, msgspec.msgpack.encode(Serve(self._identity)), [theirs.fileno()])
        ours.setblocking(False)
        self._control, self._attacher = control, ours
        self._connection = Connection(requests())
        return ours

    async def _listen(self) -> None:
        """Take the attacher's answers."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            while self._attacher is not None:
                await anyio.wait_readable(self._attacher)
                self._take_answer(self._attacher)

    def _take_answer(self, attacher: socket.socket) -> None:
        try:
            received = sockets.receive(attacher, _MAX_PACKET)
        except BlockingIOError:
            return
        except ConnectionError:
            received = sockets.Received(b"", (), truncated=False, fds_truncated=False)
        if not received.data:
            self._lost()
            return
        message = self._connection.receive(Packet(received.data, received.fds))
        for response in message.responses:
            waiting = self._answers.pop(response.id or 0, None)
            if waiting is not None:
                waiting[1].append(response)
                waiting[0].set()
                continue
            # Of a request that was cancelled meanwhile.
            close_aside(response.descriptors.unclaimed())
            if response.error is None and isinstance(answer := response.value(), Answer):
                self._end(answer.recording)

    def _lost(self) -> None:
        """The attacher has ended, and with it all that it recorded for us."""
        log.error("the attacher has ended: its traces are over")
        for sock in (self._attacher, self._control):
            if sock is not None:
                sock.close()
        self._attacher = self._control = None
        waiting, self._answers = self._answers, {}
        for answered, _ in waiting.values():
            answered.set()
        for reading in list(self._readings.values()):
            while not reading.read(monotonic_ns() + TURN_NS, whole=True):
                pass
            self._close(reading, "daemon_stopping")
        self.told()


def _missing(identity: Identity) -> str | None:
    """Return what ``identity`` lacks to have an attacher of its own, or this kernel."""
    if identity.capabilities & NEEDED != NEEDED:
        return CAPABILITIES
    if not os.path.exists(VMLINUX):
        return f"this kernel does not tell its types ({VMLINUX})"
    return None
