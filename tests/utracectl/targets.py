"""utracectl with a worker of its own, and a program to use it on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from tests.utracectl.conftest import ROOT


def environment(folder: Path, socket: str = "") -> dict[str, str]:
    """Return an environment in which the daemon at ``socket`` is found, or none."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": socket, "XDG_RUNTIME_DIR": str(folder)}


def utracectl(folder: Path, *words: object) -> subprocess.CompletedProcess[bytes]:
    """Run utracectl with a worker of its own."""
    return subprocess.run(
        [sys.executable, "-m", "utracectl", *map(str, words)],
        env=environment(folder), capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False, cwd=folder,
    )  # fmt: skip


@contextmanager
def started(folder: Path, *words: object, socket: str = "", stdin: int = PIPE) -> Iterator[Popen[bytes]]:
    """Give a running utracectl with the daemon at ``socket``, or a worker of its own."""
    process = Popen(
        [sys.executable, "-m", "utracectl", *map(str, words)],
        stdin=stdin, stdout=PIPE, stderr=PIPE, env=environment(folder, socket),
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def state(pid: int) -> str:
    """Return the letter of a process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
