"""Connections that are not served: their first request is answered with the reason, and they are closed."""

from __future__ import annotations

import contextlib
import select
import socket

import anyio

from utraced.errors import UtracedError
from utraced.handlers.limits import MAX_BATCH, MAX_PACKET, MAX_VALUES
from utraced.linux import sockets
from utraced.linux.closing import close_aside
from utraced.rpc.connection import Connection
from utraced.rpc.method import Registry
from utraced.rpc.packet import Packet

PATIENCE = 10.0
"""Seconds that a connection may take for its first request."""


async def refuse(sock: socket.socket, registry: Registry, error: UtracedError) -> None:
    """Answer the requests of the first packet with ``error``, what is none as always, and close the connection."""
    with sock, contextlib.suppress(OSError):
        with anyio.move_on_after(PATIENCE):
            await anyio.wait_readable(sock)
            received = sockets.receive(sock, MAX_PACKET)
            close_aside(received.fds)
            if received.data:
                packet = Packet(received.data)
                for answer in answers(packet, registry, error, truncated=received.truncated):
                    sockets.send(sock, answer.data)
        hang_up(sock)


def answers(packet: Packet, registry: Registry, error: UtracedError, *, truncated: bool) -> list[Packet]:
    """Return the packets that answer ``packet``."""
    connection = Connection(registry, max_packet=MAX_PACKET, max_batch=MAX_BATCH, max_values=MAX_VALUES)
    message = connection.receive(packet, truncated=truncated)
    found = message.replies
    for request in message.requests:
        found += connection.error(request, error)
    return found


def leave(sock: socket.socket) -> None:
    """Close a connection that is not served, without a word."""
    with sock:
        hang_up(sock)


def hang_up(sock: socket.socket) -> None:
    """Take nothing more from a peer, so that it reads what we have sent.

    Closed with packets of its unread, the socket would first tell it ECONNRESET (unix_release_sock in
    net/unix/af_unix.c).
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
        while True:
            received = sockets.receive(sock, MAX_PACKET)
            close_aside(received.fds)
            if not received.data:
                return


def hung_up(sock: socket.socket) -> bool:
    """Tell whether the peer has closed its end, though packets of its may be unread."""
    poll = select.poll()
    poll.register(sock, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
