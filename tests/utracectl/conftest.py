"""A server for the command to talk to, and the command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.utracectl.server import Answer, Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Answer], Server]]:
    """Start a server at ``socket`` in the test's directory."""
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(tmp_path / "socket", answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def utracectl(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run utracectl with arguments; it finds the server of ``serve``."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "utracectl", *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket"), **environment},
            timeout=60,
            check=False,
            cwd=tmp_path,
            start_new_session=True,
        )

    return run
