"""A call over a private D-Bus bus: to the bus itself, and through it to a peer (D-Bus specification, 0.41)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

from benchmarks.asking import Exchange, asking
from benchmarks.programs import running

NEEDS = "dbus-daemon"
BUS = "org.freedesktop.DBus"
CONFIGURATION = """<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>
"""
FIXED = 16
"""Bytes of a message before its header's fields."""


@contextlib.contextmanager
def bus(folder: Path, peer: Path) -> Iterator[dict[str, Exchange]]:
    """Run a bus, and yield a call that the bus answers, and one that a program in C answers over it."""
    path, configuration = folder / "bus.sock", folder / "bus.conf"
    configuration.write_text(CONFIGURATION.format(path))
    command = [NEEDS, f"--config-file={configuration}", "--nofork", "--print-address"]
    with running(command), running([peer, "bus", path]) as name, _joined(path) as sock:
        yield {
            "D-Bus, the bus itself": asking(sock, _call(BUS, "GetId"), _whole),
            "D-Bus, through the bus": asking(sock, _call(name, "Echo"), _whole),
        }


@contextlib.contextmanager
def _joined(path: Path) -> Iterator[socket]:
    """Yield a connection that has said hello to the bus."""
    with socket(AF_UNIX, SOCK_STREAM) as sock:
        sock.connect(str(path))
        sock.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        if not sock.recv(256).startswith(b"OK"):
            raise RuntimeError("the bus does not let us in")
        sock.sendall(b"BEGIN\r\n" + _call(BUS, "Hello"))
        # The answer to it, and the signal that tells our name.
        got = b""
        while b"NameAcquired" not in got or not _whole(memoryview(got)):
            got += sock.recv(4096)
        yield sock


def _call(destination: str, member: str) -> bytes:
    """Return the message of a call without arguments."""
    fields = b""
    for code, kind, text in (
        (1, b"o", "/org/freedesktop/DBus"),
        (2, b"s", BUS),
        (3, b"s", member),
        (6, b"s", destination),
    ):
        fields += bytes(-len(fields) % 8)
        fields += struct.pack("<BB2sI", code, 1, kind, len(text)) + text.encode() + b"\0"
    message = struct.pack("<cBBBIII", b"l", 1, 0, 1, 0, 1, len(fields)) + fields
    return message + bytes(-len(message) % 8)


def _whole(got: memoryview) -> bool:
    """Tell whether whole messages, at least one, have come."""
    start = 0
    while start + FIXED <= len(got):
        body, _serial, fields = struct.unpack_from("<III", got, start + 4)
        start += FIXED + fields + -fields % 8 + body
        if start == len(got):
            return True
    return False
