"""What a command takes longer when it is traced, with its children: recorded by the kernel, and by strace.

Measured is the command alone, from its execve to its end: a tracer is attached before, and may go on writing after.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from benchmarks.rounds import Row, compare, interleave
from benchmarks.tracers import strace, worker
from utraced.api.events import Detached
from utraced.api.trace import Start

Attach = Callable[[int, Path], AbstractContextManager[Callable[[], None]]]

AIMS = {"dd": "3.5", "find": "2.0", "git status": "1.8", "imports": "1.3"}
_FUNCTIONS = 300
_FILES = 3000


@contextlib.contextmanager
def plain(pid: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Trace nothing."""
    del pid, folder
    yield lambda: None


@contextlib.contextmanager
def kernel(pid: int, folder: Path, *, calls: Sequence[str] | None = None) -> Iterator[Callable[[], None]]:
    """Have the kernel record, and the records passed on; fails where any is lost."""
    del folder
    with worker() as client:
        client.call(
            Start(
                pid=pid,
                follow=True,
                from_exec=True,
                backend="kernel",
                deliver="raw",
                overflow="block",
                syscalls=None if calls is None else tuple(calls),
            )
        )

        def finish() -> None:
            for event in client.events():
                if isinstance(event, Detached):
                    if event.lost:
                        raise RuntimeError(f"{event.lost} records were lost")
                    return

        yield finish


@contextlib.contextmanager
def bystander(pid: int, folder: Path, *, calls: Sequence[str] | None = None) -> Iterator[Callable[[], None]]:
    """Have the kernel record another process, which sleeps."""
    other = subprocess.Popen(["sleep", "1000"])
    try:
        with kernel(other.pid, folder, calls=calls):
            yield lambda: None
    finally:
        other.kill()
        other.wait()


TRACERS: dict[str, Attach] = {
    "untraced": plain,
    "kernel, all calls": kernel,
    "kernel, openat": partial(kernel, calls=("openat",)),
    "strace -f -o FILE": strace,
    "beside a trace of all calls": bystander,
    "beside a trace of openat": partial(bystander, calls=("openat",)),
}


def slow_down(folder: Path, *, rounds: int) -> list[Row]:
    """Return how much longer each command takes with each tracer."""
    rows = []
    for name, command in workloads(folder).items():
        measures = {tracer: partial(_seconds, command, attach, folder) for tracer, attach in TRACERS.items()}
        aims = {"kernel, all calls": AIMS.get(name, ""), "beside a trace of openat": "1.1"}
        rows += compare(interleave(measures, rounds), "untraced", prefix=name, unit="s", aims=aims)
    return rows


def workloads(folder: Path) -> dict[str, list[str]]:
    """Return the commands, with what they work on made in ``folder``."""
    tree = folder / "tree"
    tree.mkdir()
    for number in range(_FILES):
        (tree / f"file{number}").write_text(f"{number}\n")
    source = folder / "functions.c"
    source.write_text(
        "\n".join(
            f"int f{n}(int x) {{ int s = x; while (s > {n}) s -= {n + 1}; return s; }}" for n in range(_FUNCTIONS)
        )
    )
    found = {
        "dd": ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=200000"],
        "find": ["find", "/usr/lib"],
        "imports": [
            sys.executable,
            "-I",
            "-c",
            "import json, socket, subprocess, email, http.client, logging, unittest",
        ],
        "60 execs": ["sh", "-c", "i=0; while [ $i -lt 60 ]; do /bin/true; i=$((i+1)); done"],
        "gcc": ["gcc", "-O2", "-c", "-o", str(folder / "functions.o"), str(source)],
    }
    with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
        for words in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True)
        found["git status"] = ["git", "-C", str(tree), "status"]
    return found


def _seconds(command: Sequence[str], attach: Attach, folder: Path) -> float:
    """Return how long a command takes when it is traced from its execve on."""
    gate, let_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(let_go)
            null = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(null, standard)
            os.read(gate, 1)
            os.execvp(command[0], list(command))
        finally:
            os._exit(127)
    os.close(gate)
    try:
        with attach(pid, folder) as finish:
            started = time.perf_counter()
            os.close(let_go)
            _, status = os.waitpid(pid, 0)
            seconds = time.perf_counter() - started
            finish()
    finally:
        with contextlib.suppress(OSError):
            os.close(let_go)
    if status:
        raise RuntimeError(f"{command[0]} ended with status {status}")
    return seconds
