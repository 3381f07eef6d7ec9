"""One connection: packets in, requests carried out, packets out."""

from __future__ import annotations

import inspect
import logging
import secrets
import socket
from collections.abc import Awaitable
from time import monotonic_ns
from typing import Any

import anyio
import anyio.abc

from utraced.errors import Cancelled, InternalError, MethodNotFound, UtracedError
from utraced.handlers.all import HANDLERS
from utraced.handlers.context import Context, Waits, WithDescriptors
from utraced.handlers.limits import MAX_BATCH, MAX_PACKET
from utraced.handlers.session import Reason, Session
from utraced.linux import sockets
from utraced.linux.closing import close_aside
from utraced.rpc.connection import Connection
from utraced.rpc.message import Request
from utraced.rpc.method import Registry
from utraced.rpc.packet import Packet

log = logging.getLogger("utraced")


class Transport:
    """Serves one client until it hangs up; then everything it did is undone."""

    def __init__(self, sock: socket.socket, session: Session, registry: Registry, waits: Waits) -> None:
        self._sock = sock
        self.session = session
        self._waits = waits
        self._connection = Connection(registry, max_packet=MAX_PACKET, max_batch=MAX_BATCH)
        self._waiting: dict[Request, anyio.CancelScope] = {}
        self._writable = anyio.Event()
        self._blocked = False
        self._broken = False
        self.reason: Reason = "session_closed"

    async def serve(self) -> None:
        """Serve until the end of the stream, or until cancelled."""
        self._sock.setblocking(False)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                await self._read(tasks)
                tasks.cancel_scope.cancel()
        finally:
            self.session.close(self.reason, monotonic_ns())
            self.flush()
            close_aside(self._connection.close())
            for packet in self.session.packets:
                close_aside(packet.fds)
            self._sock.close()

    async def _read(self, tasks: anyio.abc.TaskGroup) -> None:
        while not self._broken:
            try:
                received = sockets.receive(self._sock, MAX_PACKET)
            except BlockingIOError:
                await anyio.wait_readable(self._sock)
                continue
            except ConnectionError:
                return
            if not received.data:
                close_aside(received.fds)
                return
            self._take(Packet(received.data, received.fds), received.truncated, received.fds_truncated, tasks)

    def _take(self, packet: Packet, truncated: bool, fds_truncated: bool, tasks: anyio.abc.TaskGroup) -> None:  # noqa: FBT001
        message = self._connection.receive(packet, truncated=truncated, fds_truncated=fds_truncated)
        session = self.session
        session.encoding = self._connection.event_encoding
        for request in message.requests:
            self._start(request, tasks)
        for request in message.cancelled:
            scope = self._waiting.get(request)
            if scope is not None:
                scope.cancel()
        session.reply(message.replies)
        close_aside(message.fds.unclaimed())
        self.flush()

    def _start(self, request: Request, tasks: anyio.abc.TaskGroup) -> None:
        """Start a request; one that need not wait is finished here, before the next is started."""
        creates = type(request.params).creates
        self.session.creating += creates
        context = Context(self.session, self.session.tracer, request.descriptors, self._waits)
        try:
            handler = HANDLERS.get(request.method)
            if handler is None:
                raise MethodNotFound(f"{request.method} is not carried out here")
            result = handler(request.params, context)
        except Exception as error:  # whatever a handler raises is told to the client, our bugs as internal_error
            self._finish(request, error, creates=creates)
            return
        finally:
            session_tracer = self.session.tracer
            session_tracer.perform()
        if inspect.isawaitable(result):
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
        self.session.reply(packets)
        self.session.creating -= creates

    def flush(self) -> None:
        """Send what there is, as far as the socket takes it."""
        self.session.flush()
        packets = self.session.packets
        while packets and not self._blocked and not self._broken:
            packet = packets[0]
            try:
                sockets.send(self._sock, packet.data, packet.fds)
            except BlockingIOError:
                self._blocked = True
                self._writable.set()
                return
            except OSError:
                # The client is gone: the reader sees the end of the stream, and the session ends there.
                self._broken = True
                self._sock.shutdown(socket.SHUT_RDWR)
            packets.popleft()
            close_aside(packet.fds)
            self.session.sent(packet)

    async def _write(self) -> None:
        """Go on sending when the socket takes more."""
        while True:
            await self._writable.wait()
            await anyio.wait_writable(self._sock)
            self._writable = anyio.Event()
            self._blocked = False
            self.flush()


def _bug(request: Request, error: Exception) -> InternalError:
    """Log a bug of ours and return what the client is told."""
    reference = secrets.token_hex(4)
    log.error("internal error %s in %s", reference, request.method, exc_info=error)
    return InternalError(f"{request.method} failed in utraced itself", reference=reference)
