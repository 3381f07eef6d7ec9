"""Packets as lines: what crosses pipes and ssh, where there are no packets.

A line is one packet of JSON text, which has no line break in it.  File descriptors cannot cross.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from utraced.errors import Unsupported

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_PEEK = 65_536
"""Bytes looked at together: two packets of events."""


class LineSocket(socket.socket):
    """A connected stream socket that carries packets as lines, to be used in the place of one for packets.

    No whole line is ever taken off the socket before it is asked for, so that polling it tells what there is.
    ``ended`` makes the error that is raised where the stream has ended; without it that is an empty packet.
    """

    def __init__(self, stream: socket.socket, *, ended: Callable[[], Exception] | None = None) -> None:
        super().__init__(fileno=stream.detach())
        self._ended = ended
        self._begun = bytearray()

    def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        """Take one line off the socket; of one that is larger than the buffer only its beginning is kept.

        Raises ``BlockingIOError`` where no whole line is there.
        """
        buffer = memoryview(next(iter(buffers)))
        line = self._line(len(buffer))
        if not line and self._ended is not None:
            raise self._ended()
        buffer[: len(line)] = line
        return len(line), [], 0, None

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """Send one packet as a line, whole; raises ``BlockingIOError`` where nothing of it could be sent.

        Raises ``Unsupported`` where descriptors are to go with it.
        """
        if any(ancdata):
            raise no_descriptors()
        data = memoryview(b"".join(buffers) + b"\n")
        size = len(data)
        data = data[self.send(data, flags) :]
        poll = select.poll()
        poll.register(self, select.POLLOUT)
        while data:
            # The other end reads on whatever it has to say itself, so that this cannot last.
            poll.poll()
            try:
                data = data[self.send(data, flags) :]
            except BlockingIOError:
                continue
        return size - 1

    def _line(self, most: int) -> bytes:
        """Return the next line that is not blank, at most ``most`` bytes of it, ``b""`` at the end of the stream."""
        while True:
            try:
                seen = self.recv(_PEEK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except ConnectionError:
                # The other end closed without having read all: an end like any other.
                seen = b""
            if not seen:
                return b""
            end = seen.find(b"\n") + 1
            taken = self.recv(end or len(seen), socket.MSG_DONTWAIT)
            self._begun += taken[: most - len(self._begun)]
            if end:
                line = bytes(self._begun).strip()
                self._begun.clear()
                if line:
                    return line


def no_descriptors() -> Unsupported:
    """Return the error for a request whose descriptors, or an answer of which, cannot cross."""
    return Unsupported(
        "file descriptors cannot pass through standard streams or ssh",
        feature="descriptors",
        hint="Ask for the data in the reply, by cursor and limit, or ask the daemon's socket on its own machine.",
    )
