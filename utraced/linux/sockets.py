"""Packets with file descriptors over a non-blocking AF_UNIX socket of type SOCK_SEQPACKET (unix(7), recvmsg(2))."""

from __future__ import annotations

import array
import os
import socket
import threading
from collections.abc import Sequence
from typing import NamedTuple

MAX_FDS = 16
"""File descriptors in one packet; the kernel would carry 253 (SCM_MAX_FD)."""

_ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
# Plain numbers: combining the members of an enumeration takes as long as the system call.
_RECEIVING = int(socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)
_SENDING = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_TRUNCATED = int(socket.MSG_TRUNC)
_FDS_TRUNCATED = int(socket.MSG_CTRUNC)

_buffers = threading.local()


class Received(NamedTuple):
    """One packet; ``data`` is empty at the end of the stream.

    ``truncated``: it was larger than allowed, and ``data`` is only its beginning.  ``fds_truncated``: more descriptors
    were sent than fit the packet or this process's limit.  In every case ``fds`` belong to the receiver, who closes
    them.
    """

    data: bytes
    fds: tuple[int, ...]
    truncated: bool
    fds_truncated: bool


def receive(sock: socket.socket, max_packet: int) -> Received:
    """Take the next packet of at most ``max_packet`` bytes off the socket; its descriptors are close-on-exec.

    Raises BlockingIOError when there is none, and the OSErrors of recvmsg(2).
    """
    buffer = _buffer(max_packet + 1)
    size, ancillary, flags, _ = sock.recvmsg_into([buffer], _ANCILLARY_SIZE, _RECEIVING)
    if size <= max_packet and not ancillary and not flags & _FDS_TRUNCATED:
        return Received(bytes(buffer[:size]), (), truncated=False, fds_truncated=False)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return Received(
        data=bytes(buffer[: min(size, max_packet)]),
        fds=tuple(fds),
        truncated=size > max_packet or bool(flags & _TRUNCATED),
        fds_truncated=bool(flags & _FDS_TRUNCATED),
    )


def send(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """Send one packet, whole, with copies of ``fds``; they stay open here.

    Raises BlockingIOError when the socket's buffer is full, ValueError for an empty packet (the peer would read the
    end of the stream) or too many descriptors, and the OSErrors of sendmsg(2): EMSGSIZE, EPIPE, ECONNRESET.
    """
    if not data:
        raise ValueError("an empty packet would be the end of the stream")
    if len(fds) > MAX_FDS:
        raise ValueError(f"{len(fds)} descriptors in a packet, at most {MAX_FDS} are allowed")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, _SENDING)


def check_connected(fd: int | None) -> None:
    """Raise ValueError where ``fd`` is no connected packet socket; it stays open."""
    try:
        copy = socket.socket(fileno=os.dup(-1 if fd is None else fd))
    except OSError as error:
        raise ValueError(f"the descriptor {fd} is no socket: {error.strerror}") from error
    with copy:
        try:
            copy.getpeername()
        except OSError as error:
            raise ValueError(f"the socket {fd} is not connected: {error.strerror}") from error
        if copy.family != socket.AF_UNIX or copy.type != socket.SOCK_SEQPACKET:
            raise ValueError(f"the socket {fd} is of another kind: AF_UNIX, SOCK_SEQPACKET is needed")


def _buffer(size: int) -> memoryview:
    """Return this thread's buffer; a new one for each packet costs five times the call (15 us against 3)."""
    held: memoryview | None = getattr(_buffers, "view", None)
    if held is None or len(held) < size:
        held = _buffers.view = memoryview(bytearray(size))
    return held if len(held) == size else held[:size]
