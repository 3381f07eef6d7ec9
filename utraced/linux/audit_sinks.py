"""Where the audit trail is written: to the journal, or as lines to whatever stderr is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import termios
from collections.abc import Mapping
from io import FileIO

from utraced.audit import NOTICE, Entry, Sink, journal_fields
from utraced.linux.journal import PLACE, Journal, leads_to_journal
from utraced.model import encode_json


def sink_of(environment: Mapping[str, str], fd: int = 2, *, place: str = PLACE) -> Sink:
    """Return what suits ``fd``, a process's stderr: fields for the journal, JSON lines for a file, a pipe or a socket.

    A terminal's user is told in words, and only of what was not done.
    """
    if leads_to_journal(environment, fd):
        return Fields(place)
    return Words(fd) if os.isatty(fd) else Lines(fd)


class Fields:
    """Writes each entry to the journal."""

    def __init__(self, place: str) -> None:
        self._journal = Journal(place)

    def write(self, entry: Entry) -> bool:
        """Write an entry; False where the journal takes nothing now."""
        return self._journal.send(journal_fields(entry))

    def close(self) -> None:
        """Close the socket."""
        self._journal.close()


class Lines:
    """Writes each entry as a line of JSON, whole, or not at all; never waits for a reader."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            mode = os.fstat(fd).st_mode
        except OSError:  # closed
            mode = 0
        self._is_pipe = stat.S_ISFIFO(mode)
        self._is_socket = stat.S_ISSOCK(mode)

    def write(self, entry: Entry) -> bool:
        """Write an entry; False where there is no room for it."""
        data = encode_json(entry) + b"\n"
        try:
            if self._is_socket:
                with socket.socket(fileno=os.dup(self._fd)) as sock:
                    return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(data)
            if self._is_pipe:
                return self._has_room() and self._write_now(data)
            return os.write(self._fd, data) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        """Leave stderr open: it is not ours."""

    def _has_room(self) -> bool:
        """Tell whether a pipe is at most half full: what else is written to it waits where there is no room."""
        waiting = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))[0]
        return bool(waiting * 2 <= fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ))

    def _write_now(self, data: bytes) -> bool:
        """Write without waiting, whole as it is below PIPE_BUF (pipe(7)); O_NONBLOCK would be other processes' too."""
        try:
            return os.pwritev(self._fd, [data], -1, os.RWF_NOWAIT) == len(data)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:  # older kernels
                raise
            return os.write(self._fd, data) == len(data)


class Words:
    """Tells a terminal's user what was not done; a terminal that takes nothing (Ctrl-S) holds nobody up."""

    def __init__(self, fd: int) -> None:
        self._file: FileIO | None = None
        with contextlib.suppress(OSError):  # another user's
            # Opened anew: what others write to it is to wait as ever.
            again = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            self._file = FileIO(again, "w")

    def write(self, entry: Entry) -> bool:
        """Write an entry of some priority; False where there is no room for it."""
        if entry.priority > NOTICE or self._file is None:
            return True
        data = f"utraced: {entry.message}\n".encode()
        try:
            return self._file.write(data) == len(data)
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Close our own way to it."""
        if self._file is not None:
            self._file.close()
