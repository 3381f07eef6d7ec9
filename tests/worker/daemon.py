"""A daemon that listens, and plain packets to it and from it."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Self

import msgspec

PATIENCE = 30.0
"""Seconds after which what is waited for is taken to never come."""
ROOM = 1 << 20
LAUNCH = """
import os, sys
fds, names, *command = sys.argv[1:]
for position, fd in enumerate(fds.split(",")):
    os.dup2(int(fd), 3 + position)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names.split(":"))), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, "-m", "utraced", *command])
"""


class Peer:
    """One connection to a daemon."""

    def __init__(self, address: str | Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(address))
        self.socket.settimeout(PATIENCE)
        self._last = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, method: str, fds: Sequence[int] = (), **params: Any) -> int:
        """Send a request and return its id."""
        self._last += 1
        data = msgspec.json.encode({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([data], ancillary)
        return self._last

    def next(self) -> Any:
        """Return the next packet, None at the end of the stream."""
        data = self.socket.recv(ROOM)
        return msgspec.json.decode(data) if data else None

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a request; events before it are passed over."""
        number = self.send(method, **params)
        while True:
            packet = self.next()
            assert packet is not None, f"the end of the stream instead of an answer to {method}"
            if isinstance(packet, dict) and packet.get("id") == number:
                assert "result" in packet, packet
                return packet["result"]

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield events until the end of the stream."""
        while (packet := self.next()) is not None:
            for message in packet if isinstance(packet, list) else [packet]:
                if message.get("method") == "event":
                    yield message["params"]


class Daemon:
    """A running daemon; ``said`` is what it has written to stderr so far, ``address`` where it listens.

    ``trail`` is what stood between as lines of JSON: the audit trail.
    """

    def __init__(self, process: Popen[bytes], address: str) -> None:
        self.process = process
        self.pid = process.pid
        self.address = address
        self.said = ""
        self.trail: list[dict[str, Any]] = []

    def says(self) -> str:
        """Return the next line that it writes, "" at its end."""
        assert self.process.stderr is not None
        while self._is_trail(line := self.process.stderr.readline().decode()):
            pass
        self.said += line
        return line.strip()

    def audits(self) -> dict[str, Any]:
        """Return the next line of the audit trail; others before it are kept in ``said``."""
        assert self.process.stderr is not None
        while not self._is_trail(line := self.process.stderr.readline().decode()):
            assert line, f"the daemon ended after {self.trail[-3:]}"
            self.said += line
        return self.trail[-1]

    def _is_trail(self, line: str) -> bool:
        if not line.startswith("{"):
            return False
        self.trail.append(msgspec.json.decode(line))
        return True

    def connect(self) -> Peer:
        return Peer(self.address)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its status."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Wait for its end and return its status."""
        assert self.process.stderr is not None
        while self.says():
            pass
        return self.process.wait(PATIENCE)


@contextmanager
def listening(path: Path, *words: str | Path, **options: Any) -> Iterator[Daemon]:
    """Give a daemon that listens at ``path``, with these options more."""
    command = [sys.executable, "-m", "utraced", "--socket", *map(str, (path, *words))]
    with _running(command, str(path), **options) as daemon:
        yield daemon


@contextmanager
def activated(
    sockets: Mapping[str, socket.socket],
    *words: str,
    prepare: Callable[[], None] | None = None,
    ready: bool = True,
) -> Iterator[Daemon]:
    """Give a daemon that was passed ``sockets``, by name, as a service manager does."""
    # Above those that the launcher replaces.
    fds = [fcntl.fcntl(sock, fcntl.F_DUPFD, 3 + len(sockets)) for sock in sockets.values()]
    try:
        command = [sys.executable, "-c", LAUNCH, ",".join(map(str, fds)), ":".join(sockets), *words]
        first = next(iter(sockets.values()))
        with _running(command, address_of(first), ready=ready, pass_fds=tuple(fds), preexec_fn=prepare) as daemon:
            yield daemon
    finally:
        for fd in fds:
            os.close(fd)


@contextmanager
def _running(command: list[str], address: str, *, ready: bool = True, **options: Any) -> Iterator[Daemon]:
    process: Popen[bytes] = Popen(command, stderr=PIPE, **options)
    daemon = Daemon(process, address)
    try:
        if ready:
            assert "listens at" in daemon.says(), daemon.said + str(daemon.end())
        yield daemon
    finally:
        process.kill()
        process.wait(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


def address_of(sock: socket.socket) -> str:
    """Return where to connect to, as text also where it is an abstract name."""
    address = sock.getsockname()
    return "\0" + address[1:].decode() if isinstance(address, bytes) else str(address)


def listener(name: str) -> socket.socket:
    """Return a listening socket of an abstract name, which anybody may connect to."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.bind(f"\0utraced-test-{os.getpid()}-{name}")
    sock.listen(4096)
    return sock
