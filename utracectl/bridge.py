"""``utracectl stdio``: lines on the standard streams, packets on the socket.

Both directions go on by themselves: who does not read what we write is not kept from writing to us.  What the daemon
says is taken off the socket only when the line before it is written, so that its own bounds hold and nothing is lost.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import msgspec
from msgspec import UNSET, Raw, Struct

from utracectl.connect import connect_socket
from utracectl.descriptors import asks_for_descriptors, with_errors
from utracectl.dialogue import MAX_PACKET
from utracectl.exit_codes import ERROR, OK
from utracectl.lines import no_descriptors
from utracectl.messages import Failure, say
from utraced.errors import LimitExceeded, ParseError, UtracedError
from utraced.linux import sockets
from utraced.rpc.batch import error_reply
from utraced.rpc.encoding import JSON, encoding_of
from utraced.rpc.envelope import Message, read

STDIN, STDOUT = 0, 1
HUNG_UP = "the daemon hung up"
_READ = 65_536
_WRITE = select.PIPE_BUF
"""Bytes that a pipe which polls as writable takes without waiting (pipe(7)); we never set O_NONBLOCK on streams that
others may share with us."""
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


def bridge() -> int:
    """Carry lines and packets until stdin ends and all is answered, or either end hangs up; returns the exit status."""
    for fd, name in ((STDIN, "stdin"), (STDOUT, "stdout")):
        try:
            os.fstat(fd)
        except OSError as error:
            raise Failure(f"{name} is closed: connect it to what talks to the daemon") from error
    link = connect_socket()
    with link.socket:
        link.socket.setblocking(False)
        return Bridge(link.socket, STDIN, STDOUT).run()


class Bridge:
    """Carries lines between two streams and the packets of ``sock``, which is not blocking."""

    def __init__(self, sock: socket.socket, stdin: int, stdout: int) -> None:
        self._sock = sock
        self._stdin = stdin
        self._stdout = stdout
        self._lines = Lines(MAX_PACKET)
        self._packets: deque[bytes] = deque()
        self._output = bytearray()
        self._awaited = 0
        self._stdin_open = True
        self._hung_up: str | None = None

    def run(self) -> int:
        """Carry on until the end; returns the exit status."""
        while True:
            if not self._output:
                if self._hung_up is not None:
                    say(self._hung_up)
                    return ERROR
                if not self._stdin_open and not self._packets and not self._awaited:
                    return OK
            ready = self._wait()
            if ready.get(self._stdout, 0) & _GONE:
                return ERROR if self._output or self._awaited else OK
            if ready.get(self._stdin):
                self._read()
            self._send()
            if ready.get(self._stdout, 0) & select.POLLOUT:
                self._write()
            if not self._output and self._hung_up is None:
                self._receive()

    def _wait(self) -> dict[int, int]:
        """Wait for what can go on; returns the events of poll(2) by descriptor."""
        poll = select.poll()
        if self._stdin_open and not self._packets:
            poll.register(self._stdin, select.POLLIN)
        # Without POLLOUT it still tells that nobody reads any more.
        poll.register(self._stdout, select.POLLOUT if self._output else 0)
        if self._hung_up is None:
            wanted = (0 if self._output else select.POLLIN) | (select.POLLOUT if self._packets else 0)
            if wanted:
                poll.register(self._sock, wanted)
        return dict(poll.poll())

    def _read(self) -> None:
        """Take in what has come on stdin."""
        try:
            data = os.read(self._stdin, _READ)
        except BlockingIOError:
            return
        except OSError:
            # A terminal that has hung up.
            data = b""
        if not data:
            self._stdin_open = False
        for line in self._lines.feed(data):
            try:
                self._take(line)
            except UtracedError as error:
                self._answer(error)

    def _take(self, line: bytes | None) -> None:
        """Queue one line for the daemon; raises the error that answers it instead.

        None is a line that was too large.
        """
        if line is None:
            raise LimitExceeded(
                "the line is too large",
                limit="max_packet",
                value=MAX_PACKET,
                hint="Send less at a time: one line is one packet.",
            )
        if encoding_of(line) is not JSON:
            raise ParseError("no JSON", hint="Send one JSON value per line, in valid UTF-8.")
        if self._hung_up is not None:
            return
        try:
            messages = _messages(line)
        except UtracedError:
            # The daemon answers as it answers everybody.
            messages = None
        if messages is not None and len(messages) == 1 and _cannot_pass(messages[0]):
            if _is_answered(messages[0]):
                self._answer(no_descriptors(), messages[0].raw_id)
            return
        self._packets.append(line)
        self._awaited += messages is None or not messages or any(map(_is_answered, messages))

    def _answer(self, error: UtracedError, raw_id: bytes = JSON.null) -> None:
        """Answer a line as the daemon would."""
        self._output += error_reply(JSON, raw_id, error).body + b"\n"

    def _send(self) -> None:
        """Send what the socket takes."""
        try:
            while self._packets and self._hung_up is None:
                sockets.send(self._sock, self._packets[0])
                self._packets.popleft()
        except BlockingIOError:
            return
        except OSError:
            # Its last words come first; after them the socket tells its end.
            self._packets.clear()

    def _write(self) -> None:
        """Write what stdout takes, which polls as writable."""
        with suppress(BlockingIOError):
            del self._output[: os.write(self._stdout, self._output[:_WRITE])]

    def _receive(self) -> None:
        """Take in one packet, and close what came with it."""
        try:
            received = sockets.receive(self._sock, MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            # ECONNRESET: it closed without having read all that we sent.
            self._hung_up = HUNG_UP
            return
        for fd in received.fds:
            os.close(fd)
        if not received.data:
            self._hung_up = HUNG_UP
            return
        data = with_errors(received.data) if received.fds else received.data
        # White space between the members of another daemon's JSON: inside strings it would be escaped.
        self._output += data.replace(b"\n", b" ") + b"\n"
        self._awaited -= self._awaited > 0 and not _has_events(data)


class Lines:
    """Cuts a stream into lines of at most ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Yield the lines that ``data`` completes, blank ones left out, None for each that is too large.

        No data is the end of the stream, which ends a last line too.
        """
        *whole, rest = data.split(b"\n") if data else (b"", b"")
        for piece in whole:
            self._add(piece)
            line = bytes(self._begun)
            self._begun.clear()
            if len(line) > self._most:
                yield None
            elif line.strip():
                yield line.strip()
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        """Add to the line that has begun, as far as it need be kept to be known as too large."""
        self._begun += piece[: self._most + 1 - len(self._begun)]


class _Head(Struct):
    """What of a packet's members tells events from replies."""

    method: str | None = None


_heads = msgspec.json.Decoder(_Head | list[_Head])


def _messages(line: bytes) -> list[Message]:
    """Return the messages of a line; raises the error that the daemon answers to what is no message at all."""
    JSON.check(line)
    if JSON.shape(line) != "array":
        return [read(JSON, line)]
    return [read(JSON, member) for member in JSON.decode(line, list[Raw])]


def _is_answered(message: Message) -> bool:
    """Return whether the daemon answers a message: requests and mistakes, but no errors."""
    if message.method is None and message.error:
        return False
    return message.fault is not None or message.id is not UNSET or message.method is None


def _cannot_pass(message: Message) -> bool:
    """Return whether a message is a request with descriptors."""
    return message.fault is None and asks_for_descriptors(message.method, message.params)


def _has_events(packet: bytes) -> bool:
    """Return whether a packet of the daemon holds events, which never come together with replies."""
    try:
        heads = _heads.decode(packet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    first = next(iter(heads), _Head()) if isinstance(heads, list) else heads
    return first.method is not None
