"""One connection: packets in, requests carried out, packets out."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import secrets
import socket
from collections.abc import Awaitable, Sequence
from functools import partial
from time import monotonic_ns, thread_time_ns
from typing import Any

import anyio
import anyio.abc
from msgspec import Struct

from utraced.errors import Cancelled, InternalError, LimitExceeded, MethodNotFound, PermissionDenied, UtracedError
from utraced.handlers import aside
from utraced.handlers.all import HANDLERS
from utraced.handlers.context import Context, Waits, WithDescriptors
from utraced.handlers.limits import MAX_BATCH, MAX_PACKET, MAX_VALUES, MAX_WAITING
from utraced.handlers.session import Reason, Session
from utraced.linux import sockets
from utraced.linux.closing import Closer, close_aside
from utraced.rpc.batch import Batch
from utraced.rpc.connection import Connection
from utraced.rpc.message import Received, Request
from utraced.rpc.method import Registry
from utraced.rpc.packet import Packet

from .refusing import hang_up, hung_up
from .turns import Account, Turns

log = logging.getLogger("utraced")


TURN_NS = 200_000
"""Nanoseconds of one client's requests, carried out one after the other, before the loop turns in any case."""
MAX_CLOSING = 64
"""Descriptors of a client that wait to be closed before no more of its packets are taken: each may take seconds."""
CLOSING_SECONDS = 0.01
"""Seconds between looks whether they are closed."""
WAITING_NS = 400_000
"""Nanoseconds that a request costs besides which is waited for in a task of its own."""
RESTING_SECONDS = 0.05
"""Seconds between looks whether a client that rests is still there."""
MORE = -1
"""Of a turn: it is over, and the client is listened to."""
LINGER = 1.0
"""Seconds in which a client may read what the end of the daemon left it."""


class Transport:
    """Serves one client until it hangs up; then everything it did is undone.

    A client that does not read what waits for it is not listened to beyond a bound; ``turns`` says when it is its turn,
    and what time it is.
    """

    def __init__(
        self,
        sock: socket.socket,
        session: Session,
        registry: Registry,
        waits: Waits,
        turns: Turns,
    ) -> None:
        self._sock = sock
        self.session = session
        self._waits = waits
        self._turns = turns
        self._fd = sock.fileno()
        self._account = Account()
        self._packet: Received | None = None
        self._started = 0
        self._connection = Connection(registry, max_packet=MAX_PACKET, max_batch=MAX_BATCH, max_values=MAX_VALUES)
        self._waiting: dict[Request, anyio.CancelScope] = {}
        self._created: dict[Batch, int] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._blocked = False
        self._broken = False
        self._clock = turns.clock
        self._stuck_ns: int | None = None
        self._drained: anyio.Event | None = None
        self._closer: Closer | None = None
        self.reason: Reason = "session_closed"

    async def serve(self) -> None:
        """Serve until the end of the stream, or until cancelled."""
        self._sock.setblocking(False)
        turns = self._turns
        account = self._account = turns.open(self._fd, self.session.peer.pid)
        aside.share.set(aside.Share(partial(turns.spend, account), partial(turns.resting, account)))
        try:
            async with anyio.create_task_group() as self._tasks:
                await self._read(self._tasks)
                self._tasks.cancel_scope.cancel()
        finally:
            self._tasks = None
            self._turns.close(self._fd)
            if self._packet is not None:
                self._close(self._packet.fds.unclaimed())
            self.session.close(self.reason, monotonic_ns())
            self.flush()
            if self.reason == "daemon_stopping":
                await self._linger()
            started = thread_time_ns()
            close_aside(self._connection.close())
            for packet in self.session.packets:
                close_aside(packet.fds)
            with self._sock:
                hang_up(self._sock)
            if self._closer is not None:
                self._closer.end()
            # What a client leaves unread may be much.
            turns.spend(turns.connecting, thread_time_ns() - started)

    async def _linger(self) -> None:
        """Give the client a moment to read why it is all over."""
        with anyio.move_on_after(LINGER, shield=True):
            while self.session.packets and not self._broken:
                await anyio.wait_writable(self._sock)
                self._blocked = False
                self.flush()

    async def _read(self, tasks: anyio.abc.TaskGroup) -> None:
        while not self._broken:
            if self.session.deaf:
                self._drained = anyio.Event()
                await self._drained.wait()
            elif self._closer is not None and self._closer.behind > MAX_CLOSING:
                await anyio.sleep(CLOSING_SECONDS)
            elif (rest := await self._listen(tasks)) is None:
                return
            elif rest:
                if not hung_up(self._sock):
                    await anyio.sleep(min(rest / 1e9, RESTING_SECONDS))
                if hung_up(self._sock):
                    # It has sent more than its share and gone: to carry out the rest would only keep its connections.
                    return

    async def _listen(self, tasks: anyio.abc.TaskGroup) -> int | None:
        """Carry out what comes, right where the loop tells of it: to wake a task for each packet costs more than most.

        Return None at the end of the stream, else the nanoseconds for which the client has to rest; 0: until it is
        heard.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[int | None] = loop.create_future()
        again: asyncio.Handle | None = None

        def take() -> None:
            nonlocal again
            if again is not None:
                again.cancel()
                again = None
            try:
                rest = self._turn(tasks)
            except BaseException as error:
                # The task that waits for it ends by it.
                outcome = partial(over.set_exception, error)
            else:
                if rest is MORE:
                    if self._packet is not None:
                        again = loop.call_soon(take)
                    return
                outcome = partial(over.set_result, rest)
            loop.remove_reader(self._sock)
            if not over.done():
                outcome()

        loop.add_reader(self._sock, take)
        if self._packet is not None:
            again = loop.call_soon(take)
        try:
            return await over
        finally:
            loop.remove_reader(self._sock)
            if again is not None:
                again.cancel()

    def _turn(self, tasks: anyio.abc.TaskGroup) -> int | None:
        """Carry out requests for at most ``TURN_NS``; return ``MORE`` where more may come, else as ``_listen``."""
        turns, account = self._turns, self._account
        if not turns.goes_first(account):
            return MORE
        end = turns.start(account) + TURN_NS
        if rest := turns.rest(account):
            return rest
        while True:
            if self._packet is None:
                try:
                    received = sockets.receive(self._sock, MAX_PACKET)
                except BlockingIOError:
                    return MORE
                except ConnectionError:
                    return None
                if not received.data:
                    self._close(received.fds)
                    return None
                self._receive(received)
            self._advance(tasks)
            rest = turns.finish(account)
            if self._broken or self.session.deaf or (self._closer is not None and self._closer.behind > MAX_CLOSING):
                return 0
            if rest:
                return rest
            if turns.now_ns > end or not (turns.goes_on(account, self._fd) or self._packet):
                return MORE

    def _receive(self, received: sockets.Received) -> None:
        packet = Packet(received.data, received.fds)
        self._packet = self._connection.receive(
            packet, truncated=received.truncated, fds_truncated=received.fds_truncated
        )
        self._started = 0
        self.session.encoding = self._connection.event_encoding

    def _advance(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start the next request of the packet; after the last, do what else it asks for.

        A batch is not carried out in one go, or it would hold up the others for the time of a hundred requests.
        """
        message = self._packet
        assert message is not None
        if self._started < len(message.requests):
            self._start(message.requests[self._started], tasks)
            self._started += 1
            if self._started < len(message.requests):
                return
        self._packet = None
        for request in message.cancelled:
            scope = self._waiting.get(request)
            if scope is not None:
                scope.cancel()
        if message.replies:
            self.session.reply(message.replies)
        self._close(message.fds.unclaimed())
        self.flush()

    def _close(self, fds: Sequence[int]) -> None:
        """Close descriptors of the client, which may take seconds each: others' must not wait for them."""
        if fds:
            self._closer = self._closer or Closer()
            self._closer.close(fds)

    def _start(self, request: Request, tasks: anyio.abc.TaskGroup) -> None:
        """Start a request; one that need not wait is finished here, before the next is started."""
        creates = type(request.params).creates
        self.session.creating += creates
        context = Context(self.session, self.session.tracer, request.descriptors, self._waits)
        try:
            if len(self._waiting) >= MAX_WAITING:
                raise _too_many_waiting()
            handler = HANDLERS.get(request.method)
            if handler is None:
                raise MethodNotFound(f"{request.method} is not carried out here")
            if self.session.access == "observe" and type(request.params).access == "changes":
                raise _may_only_look(request.method)
            result = handler(request.params, context)
        except Exception as error:  # whatever a handler raises is told to the client, our bugs as internal_error
            self._finish(request, error, creates=creates)
            return
        finally:
            session_tracer = self.session.tracer
            session_tracer.perform()
        if not isinstance(result, Struct) and inspect.isawaitable(result):
            self._turns.spend(self._account, WAITING_NS)
            scope = self._waiting[request] = anyio.CancelScope()
            tasks.start_soon(self._wait, request, result, scope)
        else:
            self._finish(request, result, creates=creates)

    async def _wait(self, request: Request, result: Awaitable[Any], scope: anyio.CancelScope) -> None:
        """Wait for a request's result and send it."""
        outcome: Any = Cancelled("the request was cancelled")
        with scope:
            try:
                outcome = await result
            except Exception as error:  # as in _start
                outcome = error
        del self._waiting[request]
        self.session.tracer.perform()
        self._finish(request, outcome, creates=type(request.params).creates)
        self.flush()

    def _finish(self, request: Request, outcome: Any, *, creates: bool) -> None:
        if isinstance(outcome, UtracedError):
            self.session.trail.failed(outcome, method=request.method, pid=getattr(request.params, "pid", None))
            packets = self._connection.error(request, outcome)
        elif isinstance(outcome, Exception):
            packets = self._connection.error(request, _bug(request, outcome))
        else:
            value, fds = outcome if isinstance(outcome, WithDescriptors) else (outcome, ())
            try:
                packets = self._connection.result(request, value, fds)
            except InternalError as error:
                close_aside(fds)
                packets = self._connection.error(request, _bug(request, error))
        close_aside(self._connection.take_unsent())
        self.session.reply(packets, follows=type(request.params).follows)
        if request.batch is None or request.is_notification:
            self.session.creating -= creates
        else:
            # Its reply goes when the last of the batch is there.
            created = self._created.pop(request.batch, 0) + creates
            if packets:
                self.session.creating -= created
            else:
                self._created[request.batch] = created

    def flush(self) -> None:
        """Send what there is, as far as the socket takes it."""
        session = self.session
        session.flush()
        packets = session.packets
        while packets and not self._blocked and not self._broken:
            packet = packets[0]
            try:
                sockets.send(self._sock, packet.data, packet.fds)
            except BlockingIOError:
                self._blocked = True
                if self._tasks is not None:
                    self._tasks.start_soon(self._write)
                if self._stuck_ns is None:
                    self._stuck_ns = self._clock()
                break
            except OSError:
                # The client is gone: the reader sees the end of the stream, and the session ends there.
                self._break()
            packets.popleft()
            if packet.fds:
                close_aside(packet.fds)
            self._stuck_ns = None
            session.sent(packet)
            session.flush()
        if self._drained is not None and not session.deaf:
            self._drained.set()
        if session.excessive and not self._broken:
            self._give_up("and nothing could be held back", "queue_bytes", session.limits.queue_bytes)

    def stalled(self, seconds: float) -> bool:
        """Close the session if its client has read nothing for so long, though something waits; tell whether."""
        if self._broken or self._stuck_ns is None or self._clock() - self._stuck_ns < seconds * 1_000_000_000:
            return False
        self._give_up(f"for {seconds:.0f} s", "stall_seconds", int(seconds))
        return True

    def _give_up(self, why: str, limit: str, value: int) -> None:
        session = self.session
        session.trail.exceeded(limit, value)
        log.warning(
            "session %d (pid %d, uid %d) is closed: %d bytes stay unread %s",
            session.session,
            session.peer.pid,
            session.peer.uid,
            session.queued,
            why,
        )
        self._break()

    def _break(self) -> None:
        """End the session: the reader sees the end of the stream."""
        self._broken = True
        if self._drained is not None:
            self._drained.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    async def _write(self) -> None:
        """Go on sending when the socket takes more."""
        await anyio.wait_writable(self._sock)
        self._blocked = False
        self.flush()


def _bug(request: Request, error: Exception) -> InternalError:
    """Log a bug of ours and return what the client is told."""
    reference = secrets.token_hex(4)
    log.error("internal error %s in %s", reference, request.method, exc_info=error)
    return InternalError(f"{request.method} failed in utraced itself", reference=reference)


def _may_only_look(method: str) -> PermissionDenied:
    return PermissionDenied(
        f"this session may only look, and {method} changes something",
        reason="read_only_session",
        hint="Connect at a socket that is not for observing alone.",
    )


def _too_many_waiting() -> LimitExceeded:
    return LimitExceeded(
        f"{MAX_WAITING} requests of this session wait for their answer",
        limit="max_waiting",
        value=MAX_WAITING,
        hint="Wait for answers, or cancel requests with $/cancelRequest.",
    )
