"""Who is at the other end of an AF_UNIX socket, as the kernel noted it at connect or socketpair (unix(7))."""

from __future__ import annotations

import array
import ctypes
import errno
import os
import socket
import struct

from utraced.model import Peer

_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
"""linux/include/uapi/asm-generic/socket.h; the socket module does not name them."""

_UCRED = struct.Struct("=iII")
_LARGEST_BUFFER = 1024
"""What socket.getsockopt allows."""
_NGROUPS_MAX = 65536


def peer(sock: socket.socket) -> Peer:
    """Return pid, uid, gid and supplementary groups of the peer; pid 0 is one of a foreign pid namespace."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid=pid, uid=uid, gid=gid, groups=peer_groups(sock))


def peer_uid(sock: socket.socket) -> int:
    """Return the uid of the peer."""
    _pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def peer_groups(sock: socket.socket) -> tuple[int, ...]:
    """Return the peer's supplementary groups (SO_PEERGROUPS, Linux 4.13)."""
    groups = array.array("I")
    try:
        groups.frombytes(sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _LARGEST_BUFFER))
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        groups.frombytes(_large_option(sock, _SO_PEERGROUPS, _NGROUPS_MAX * groups.itemsize))
    return tuple(groups)


def peer_pidfd(sock: socket.socket) -> int:
    """Return a pidfd of the peer; close it.

    Kernels older than Linux 6.5 have only the pid: it is opened, which is wrong if the peer has ended since it
    connected and its pid belongs to another.  Raises ProcessLookupError where the peer has ended and the kernel no
    longer knows it.
    """
    try:
        return certain_pidfd(sock)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return os.pidfd_open(peer(sock).pid)


def certain_pidfd(sock: socket.socket) -> int:
    """Return a pidfd of the process that connected and of no other (SO_PEERPIDFD, Linux 6.5); close it.

    Raises OSError: ENOPROTOOPT on older kernels; EINVAL or ESRCH where the peer was reaped, of which Linux 6.16 gives a
    pidfd as well; ENODATA where there is no peer; EMFILE, ENFILE, ENOMEM.
    """
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4), "little")


def peer_label(sock: socket.socket) -> str | None:
    """Return the peer's label of a security module, as of connect (SO_PEERSEC); None where no module labels it."""
    try:
        label = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERSEC, _LARGEST_BUFFER)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return None
    return label.rstrip(b"\0\n").decode("utf-8", "backslashreplace")


def _large_option(sock: socket.socket, name: int, size: int) -> bytes:
    """Return a socket option that is longer than Python's own getsockopt takes."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(size)
    length = ctypes.c_uint32(size)
    if libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, name, buffer, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: length.value]
