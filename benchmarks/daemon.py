"""A listening daemon, and connections to it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socket
from typing import Any

from benchmarks.asking import asking
from utracectl.client import Client
from utraced.api.daemon import Hello
from utraced.rpc.connection import Connection
from utraced.rpc.method import Method, Registry


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[tuple[Path, int]]:
    """Run a listening utraced, and yield its socket and its pid."""
    path, log = folder / "utraced.sock", folder / "utraced.log"
    with log.open("w") as messages:
        command = [sys.executable, "-m", "utraced", "--socket", str(path)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=messages)
    try:
        while not _listens(path):
            if process.poll() is not None:
                raise RuntimeError(f"utraced ended: {log.read_text().strip()}")
            time.sleep(0.01)
        yield path, process.pid
    finally:
        process.terminate()
        process.wait()


def connected(path: Path) -> Client:
    """Return a client of the daemon at ``path``."""
    return Client(_connect(path))


def greeted(path: Path) -> socket:
    """Return a connection whose hello is answered."""
    sock = _connect(path)
    asking(sock, request_of(Hello()))()
    return sock


def request_of(method: Method[Any]) -> bytes:
    """Return the packet of a request."""
    _, packet = Connection(Registry()).request(method)
    return packet.data


def _connect(path: Path) -> socket:
    sock = socket(AF_UNIX, SOCK_SEQPACKET)
    sock.connect(str(path))
    return sock


def _listens(path: Path) -> bool:
    with socket(AF_UNIX, SOCK_SEQPACKET) as sock:
        return sock.connect_ex(str(path)) == 0
