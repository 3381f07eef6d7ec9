"""Programs that run while something is measured."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

PEER = Path(__file__).with_name("peer.c")


def compile_peer(folder: Path) -> Path:
    """Compile ``peer.c`` into ``folder`` and return it; raises ``FileNotFoundError`` where there is no gcc."""
    program = folder / "peer"
    subprocess.run(["gcc", "-O2", "-o", program, PEER], check=True)
    return program


@contextlib.contextmanager
def running(command: Sequence[str | Path]) -> Iterator[str]:
    """Run a program and yield the first line it prints, without its end; it is ended when it is left."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[0]} ended with status {process.wait()}")
        yield line.rstrip("\n")
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def draining(peer: Path, sock: int) -> Iterator[None]:
    """Have another process take what comes over a socket, which it is handed, and throw it away."""
    os.set_blocking(sock, True)
    process = subprocess.Popen([peer, "drain", ""], stdin=sock)
    try:
        yield
    finally:
        process.kill()
        process.wait()
