"""Reads what the kernel records for this worker's traces, by a timer, and speaks with the attacher."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from time import monotonic_ns
from typing import Any

import anyio

from utraced.api import call_records as records
from utraced.api.call_records import BadRecord
from utraced.errors import UtracedError
from utraced.handlers.braking import Brake
from utraced.handlers.recorder import unsupported
from utraced.kernel.bpf_ring import Ring
from utraced.kernel.recorder_requests import Backend, End, Record, requests
from utraced.kernel.recorder_requests import Recorded as Answer
from utraced.linux import sockets
from utraced.linux.closing import close_aside
from utraced.observing.recorded import Reason, Recorded
from utraced.rpc.connection import Connection
from utraced.rpc.message import Response
from utraced.rpc.packet import Packet

from .attachers import Attachers

log = logging.getLogger("utraced")

INTERVAL = 0.01
"""Seconds between looks into the rings: the kernel wakes nobody, which would cost the target a multiple."""
LASTING_NS = 5_000_000
"""Nanoseconds after which a call is told of that has not returned."""
TURN_NS = 5_000_000
"""Nanoseconds of decoding before the loop turns."""
IDLE = 1.1
"""Seconds after the last trace until what its records have left is considered once more."""
MOST_HELD = 128 << 20
"""Bytes of a trace's records that wait to be decoded; beyond, they stay in the ring, and what finds no room is lost."""
BRAKE_AT, RELEASE_AT = MOST_HELD // 4 * 3, MOST_HELD // 2
"""At how many the processes are held that write more, where they are to be, and at how few they go on."""
_LOOKED_AT = 16
"""Pieces of records that are searched for who writes them: it takes 5 ms, and who writes most is in each."""
_MAX_PACKET = 64 << 10


class _Reading:
    """A recording that is being read."""

    def __init__(self, recorded: Recorded, number: int, ring: Ring, brake: Brake | None = None) -> None:
        self.recorded = recorded
        self.number = number
        self.ring = ring
        self._brake = brake
        self._taken: deque[bytes] = deque()
        self._held = self._most = 0

    def fetch(self) -> None:
        """Take what the kernel wrote, so that there is room for more: decoding it takes twenty times as long."""
        count = len(self._taken)
        while self._held < MOST_HELD and (data := self.ring.take()):
            self._taken.append(data)
            self._held += len(data)
        self._most = max(self._most, self._held)
        if self._brake is None:
            return
        if self._held > BRAKE_AT:
            # Of what has come since they were held: children that were born meanwhile are among who has written it.
            self._brake.hold(_writers(islice(self._taken, max(count, len(self._taken) - _LOOKED_AT), None)))
        elif self._held < RELEASE_AT:
            self._brake.release()

    def let_run(self) -> None:
        """Hold nobody any more: nothing more is written, or nobody waits for it."""
        if self._brake is not None:
            self._brake.release()
            self._brake = None

    def let_go(self) -> int:
        """Return how many bytes waited at most since the last time, if none do any more."""
        if self._held:
            return 0
        most, self._most = self._most, 0
        return most

    def close(self) -> int:
        """Forget what has not been told; return as ``let_go``."""
        self.let_run()
        self.ring.close()
        self._taken.clear()
        self._held = 0
        return self.let_go()

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


def _writers(pieces: Iterable[bytes]) -> dict[int, int]:
    """Return the processes of which there are records, with the time of the last of each (nanoseconds)."""
    found = {}
    with contextlib.suppress(BadRecord):  # told where it is decoded
        for data in pieces:
            for head in records.heads(data):
                found[head.pid] = head.time_ns
    return found


class Recorder:
    """See ``handlers.recorder.Recorder``.

    ``attachers`` gives the connection to the attacher; ``told`` is called when events were told, ``let_go`` with how
    many bytes of records waited and do not any more.
    """

    def __init__(self, attachers: Attachers) -> None:
        self._attachers = attachers
        self._connecting = anyio.Lock()
        self._attacher: socket.socket | None = None
        self._connection = Connection(requests())
        self._answers: dict[int, tuple[anyio.Event, list[Response]]] = {}
        self._readings: dict[Recorded, _Reading] = {}
        self.told: Callable[[], None] = lambda: None
        self.let_go: Callable[[int], None] = lambda size: None
        self._some = anyio.Event()
        self._asked = anyio.Event()
        self._over = anyio.Event()

    def unavailable(self, backend: Backend) -> str | None:
        """See ``handlers.recorder.Recorder``."""
        lacking = self._attachers.lacking()
        reason = None if self._attacher is not None else lacking.attacher
        return lacking.programs if reason is None and backend == "kernel" else reason

    async def begin(
        self,
        request: Record,
        pidfd: int,
        recorded: Recorded,
        *,
        brake: Brake | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """See ``handlers.recorder.Recorder``."""
        answer, fds = await self._ask(request, (pidfd,), meanwhile)
        try:
            ring = Ring(fds[answer.ring], fds[answer.counters], answer.ring_size, twice=answer.twice)
        finally:
            for fd in fds:
                os.close(fd)
        self._readings[recorded] = _Reading(recorded, answer.recording, ring, brake)
        self._some.set()

    async def finish(self, recorded: Recorded, reason: Reason) -> None:
        """See ``handlers.recorder.Recorder``."""
        reading = self._readings.get(recorded)
        if reading is None:
            return
        with contextlib.suppress(UtracedError):
            await self._ask(End(recording=reading.number))
        reading.let_run()
        # Nothing is written any more, so this ends.  Whenever this waits, the trace may end by itself, or be dropped.
        while recorded in self._readings and not reading.read(monotonic_ns() + TURN_NS):
            self.told()
            await anyio.sleep(INTERVAL if recorded.trace.owner.congested() else 0)
        if recorded in self._readings:
            self._close(reading, reason)

    def drop(self, recorded: Recorded) -> None:
        """See ``handlers.recorder.Recorder``."""
        reading = self._readings.pop(recorded, None)
        if reading is None:
            return
        self._end(reading.number)
        self.let_go(reading.close())

    async def run(self) -> None:
        """Read for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            while True:
                await self._some.wait()
                self._some = anyio.Event()
                while self._readings:  # noqa: ASYNC110 - the kernel tells nobody
                    await anyio.sleep(0 if self.look() else INTERVAL)
                with anyio.move_on_after(IDLE):
                    await self._some.wait()
                self.let_go(0)

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
            self.let_go(reading.let_go())
        self.told()
        return more

    def close(self) -> None:
        """Let go of the attacher, which ends then."""
        for recorded in list(self._readings):
            self.drop(recorded)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._attacher is not None:
            self._attacher.close()
        self._attacher = None
        self._attachers.close()

    def _close(self, reading: _Reading, reason: Reason) -> None:
        """Tell that a trace is over, and forget it."""
        self._readings.pop(reading.recorded, None)
        counters = reading.ring.counters()
        reading.recorded.count_dropped(counters.entries)
        reading.recorded.count_records(counters.dropped)
        if reason == "target_exited" and counters.silenced:
            reason = "policy"  # the record that says so has found no room
        reading.recorded.end(reason, monotonic_ns())
        self.let_go(reading.close())

    # The attacher

    def _end(self, number: int) -> None:
        """Tell the attacher that a recording is over; it does so by itself where we go."""
        if self._attacher is None:
            return
        request_id, packet = self._connection.request(End(recording=number))
        self._answers[request_id] = anyio.Event(), []
        with contextlib.suppress(OSError):
            sockets.send(self._attacher, packet.data)

    async def _ask(
        self, call: Any, fds: tuple[int, ...] = (), meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[Any, tuple[int, ...]]:
        """Return the attacher's answer and its descriptors; raises what it raises, and Unsupported without one."""
        request_id, answered, box = await self._sent(call, fds)
        try:
            meanwhile()
            await answered.wait()
        except BaseException:
            self._answers.pop(request_id, None)  # what still comes is for nobody
            raise
        if not box:
            raise unsupported("the attacher has ended")
        (response,) = box
        return response.value(), tuple(response.descriptors.unclaimed())

    async def _sent(self, call: Any, fds: tuple[int, ...]) -> tuple[int, anyio.Event, list[Response]]:
        """Send a request; return its id, what is set with its answer, and where that is put.  Raises Unsupported."""
        for _ in range(2):
            attacher = await self._connected()
            request_id, packet = self._connection.request(call, fds)
            try:
                sockets.send(attacher, packet.data, packet.fds)
            except (BrokenPipeError, ConnectionResetError):
                # It was killed, of which _listen hears at once: a new one is there for what was not asked yet.
                await self._over.wait()
                continue
            except OSError as error:
                raise unsupported(f"the attacher takes no requests: {error.strerror}") from error
            answered, box = self._answers[request_id] = anyio.Event(), []
            return request_id, answered, box
        raise unsupported("the attacher has ended")

    async def _connected(self) -> socket.socket:
        """Return the connection to the attacher, a new one where there is none."""
        async with self._connecting:
            if self._attacher is None:
                attacher = await self._attachers.connect()
                attacher.setblocking(False)
                self._attacher = attacher
                self._connection = Connection(requests())
                self._over = anyio.Event()
                self._asked.set()
            return self._attacher

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
        self._disconnect()
        self._over.set()
        waiting, self._answers = self._answers, {}
        for answered, _ in waiting.values():
            answered.set()
        for reading in list(self._readings.values()):
            reading.let_run()
            while not reading.read(monotonic_ns() + TURN_NS, whole=True):
                pass
            self._close(reading, "daemon_stopping")
        self.told()
