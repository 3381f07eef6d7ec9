"""What the live tests see of processes: threads, states, tracers, children; and waiting for it to change."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from time import monotonic
from typing import Any

UTRACECTL = (sys.executable, "-m", "utracectl")
PATIENCE = 30.0
"""Seconds after which what is waited for is taken to never come."""


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for something that only /proc or shared memory tells; fails where it does not come."""
    deadline = monotonic() + PATIENCE
    while not holds():
        assert monotonic() < deadline, f"never came: {what}"
        os.sched_yield()


def status(pid: int, tid: int | None = None) -> dict[str, str]:
    """Return the fields of /proc/PID/status, none where there is no such process or thread."""
    path = f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status"
    try:
        text = Path(path).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def state(pid: int, tid: int | None = None) -> str:
    """Return the letter of a state, ``""`` where there is no such process or thread."""
    return status(pid, tid).get("State", "")[:1]


def tracer(pid: int, tid: int | None = None) -> int:
    """Return the pid of the tracer, 0 where there is none."""
    return int(status(pid, tid).get("TracerPid", "0"))


def threads(pid: int) -> list[int]:
    """Return the tids of a process, none where it is gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def free(pid: int) -> bool:
    """Tell whether no thread of a process is stopped or traced."""
    return all(tracer(pid, tid) == 0 and state(pid, tid) not in {"t", "T"} for tid in threads(pid))


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    found: list[int] = []
    for tid in threads(pid):
        try:
            found += map(int, Path(f"/proc/{pid}/task/{tid}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Return the children of a process, theirs, and so on."""
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


def command_line(pid: int) -> str:
    """Return a process's arguments, joined by spaces."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def worker_of(pid: int) -> int:
    """Return the worker that a utracectl has started."""
    return next(child for child in children(pid) if "-m utraced --connected" in command_line(child))


def wait_end(pid: int) -> None:
    """Wait for the end of any process; fails where it does not come."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), f"process {pid} never ended: {command_line(pid)}"
    finally:
        os.close(pidfd)


@contextmanager
def running(arguments: Sequence[str | Path], *, ready: bool = True, **options: Any) -> Iterator[Popen[bytes]]:
    """Give a started program, with ``ready`` after its first line of output; it is killed at the end."""
    options.setdefault("stdin", DEVNULL)
    process: Popen[bytes] = Popen([str(word) for word in arguments], stdout=PIPE, **options)
    try:
        if ready:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"{arguments[0]} ended before it was ready"
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def tracing(*words: str | Path, wait: str = "attached") -> Iterator[Popen[bytes]]:
    """Give a ``utracectl trace`` that has said ``wait`` on stderr; it is ended, and its worker with it."""
    process = Popen([*UTRACECTL, "trace", *map(str, words)], stdin=DEVNULL, stderr=PIPE)
    try:
        assert process.stderr is not None
        said = b""
        while wait.encode() not in said:
            line = process.stderr.readline()
            assert line, f"utracectl ended after {said.decode()!r}"
            said += line
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        if process.stderr is not None:
            process.stderr.close()
