"""The journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram of fields a message."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping

PLACE = "/run/systemd/journal/socket"


def leads_to_journal(environment: Mapping[str, str], fd: int = 2) -> bool:
    """Tell whether a descriptor is the stream to the journal that a service manager gave us (JOURNAL_STREAM)."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def encoded(fields: Mapping[str, str]) -> bytes:
    """Return the datagram; a value with a newline is preceded by its size, as else it would begin a field."""
    parts = []
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


class Journal:
    """A socket to the journal."""

    def __init__(self, place: str = PLACE) -> None:
        self._place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, fields: Mapping[str, str]) -> bool:
        """Send a message of less than a socket's buffer; False where it is full, or nobody listens."""
        try:
            # By name each time: a journal that was started anew has another socket.
            self._socket.sendto(encoded(fields), self._place)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
