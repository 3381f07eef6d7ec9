"""What records a command that is about to start: the kernel for us, strace, perf trace; and what it spends doing so."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.spending import children_named, cpu_seconds
from benchmarks.tracers import tracer_pids, worker
from utraced.api.events import Detached
from utraced.api.trace import Start
from utraced.attacher.starting import NAME


class Run(NamedTuple):
    """What a command took; what its tracer spent of the CPUs meanwhile, in seconds; and what it lost."""

    seconds: float
    cpu: float = 0.0
    lost: int = 0


class Cost(NamedTuple):
    """See ``Run``."""

    cpu: float = 0.0
    lost: int = 0


Command = Sequence[str]
Runner = Callable[[Command, Path], Run]
Attach = Callable[[int, Path], AbstractContextManager[Callable[[], Cost]]]
"""Attach to a process, with a folder for output; then a function waits until all is told, and returns what it cost."""

_TRACEFS = "/sys/kernel/tracing"
_MOUNTING = f"[ -e {_TRACEFS}/events ] || mount -t tracefs none {_TRACEFS}"
_LOST = re.compile(r"LOST (\d+) events")
_GATE = 'echo $$; read go; exec "$@" </dev/null >/dev/null 2>&1'


@contextlib.contextmanager
def kernel(
    pid: int,
    folder: Path,
    *,
    calls: Sequence[str] | None = None,
    stacks: bool = False,
    backend: Literal["kernel", "perf"] = "kernel",
) -> Iterator[Callable[[], Cost]]:
    """Have the kernel record, and the records passed on to us; spent is what the worker, the attacher and we do."""
    del folder
    with worker() as client:
        client.call(
            Start(
                pid=pid,
                follow=True,
                from_exec=True,
                backend=backend,
                deliver="raw",
                overflow="block",
                syscalls=None if calls is None else tuple(calls),
                stacks=stacks,
            )
        )
        pids = [*([] if client.worker is None else [client.worker]), *children_named(NAME)[-1:]]
        before = cpu_seconds(pids) + time.process_time()

        def finish() -> Cost:
            for event in client.events():
                if isinstance(event, Detached):
                    return Cost(cpu_seconds(pids) + time.process_time() - before, event.lost or 0)
            raise RuntimeError("the worker hung up")

        yield finish


@contextlib.contextmanager
def bystander(pid: int, folder: Path, *, calls: Sequence[str] | None = None) -> Iterator[Callable[[], Cost]]:
    """Have the kernel record another process, which sleeps."""
    del pid
    other = subprocess.Popen(["sleep", "1000"])
    try:
        with kernel(other.pid, folder, calls=calls):
            yield Cost
    finally:
        other.kill()
        other.wait()


@contextlib.contextmanager
def seccomp(pid: int, folder: Path, *, calls: Sequence[str]) -> Iterator[Callable[[], Cost]]:
    """Have a filter stop some calls alone, and be told them as they come; spent is what the worker and we do."""
    del folder
    with worker() as client:
        client.call(
            Start(pid=pid, follow=True, from_exec=True, backend="seccomp", overflow="block", syscalls=tuple(calls))
        )
        pids = [] if client.worker is None else [client.worker]
        before = cpu_seconds(pids) + time.process_time()
        lost: list[int] = []

        def read() -> None:
            while not lost:
                # As the records of the kernel they are passed on, not decoded.
                for raw in client.raw_events():
                    if b"detached" in bytes(raw) and isinstance(event := client.decode(raw), Detached):
                        lost.append(event.lost or 0)

        # What it is not told holds the command.
        reading = threading.Thread(target=read)
        reading.start()

        def finish() -> Cost:
            reading.join()
            return Cost(cpu_seconds(pids) + time.process_time() - before, lost[0])

        yield finish


@contextlib.contextmanager
def strace(pid: int, folder: Path) -> Iterator[Callable[[], Cost]]:
    """Attach strace, which writes its text to a file."""
    command = ["strace", "-f", "-o", str(folder / "strace.out"), "-p", str(pid)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not all(tracer_pids(pid)):
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(f"strace ended: {process.stderr.read().decode().strip()}")
            time.sleep(0.01)
        before = cpu_seconds([process.pid])
        yield lambda: Cost(_spent(process) - before)
    finally:
        process.kill()
        process.communicate()


def no_perf(folder: Path) -> str | None:
    """Return why perf trace cannot be compared here, None where it can."""
    if shutil.which("perf") is None:
        return "apt install linux-perf"
    command = _perf(["trace", "-o", str(folder / "perf.out"), "true"])
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return None if done.returncode == 0 else done.stderr.strip()


def untraced(command: Command, folder: Path) -> Run:
    """Return what a command takes by itself."""
    return attached(lambda *_: contextlib.nullcontext(Cost), command, folder)


def attached(attach: Attach, command: Command, folder: Path) -> Run:
    """Return what a command takes when it is traced from its execve on."""
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
            cost = finish()
    finally:
        with contextlib.suppress(OSError):
            os.close(let_go)
    if status:
        raise RuntimeError(f"{command[0]} ended with status {status}")
    return Run(seconds, cost.cpu, cost.lost)


def strace_seccomp(command: Command, folder: Path) -> Run:
    """Return what a command takes when strace starts it, to be stopped at openat alone: it cannot be attached so."""
    return _launched(["strace", "-f", "--seccomp-bpf", "-e", "openat", "-o", str(folder / "strace.out")], command)


def perf(command: Command, folder: Path) -> Run:
    """Return what a command takes when perf trace starts it: attached, it would not see the children."""
    output = folder / "perf.out"
    run = _launched(_perf(["trace", "-o", str(output)]), command)
    return run._replace(lost=sum(map(int, _LOST.findall(output.read_text(errors="replace")))))


def _launched(words: Command, command: Command) -> Run:
    """Return what a command takes that a tracing program starts, from its execve on."""
    process = subprocess.Popen(
        [*words, "sh", "-c", _GATE, "sh", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pidfd = os.pidfd_open(int(process.stdout.readline()))
    try:
        before = cpu_seconds([process.pid])
        started = time.perf_counter()
        process.stdin.write(b"\n")
        process.stdin.flush()
        select.select([pidfd], [], [])
        seconds = time.perf_counter() - started
        return Run(seconds, _spent(process) - before)
    finally:
        os.close(pidfd)
        process.kill()
        process.communicate()


def _spent(process: subprocess.Popen[bytes]) -> float:
    """Wait for a program to end as it should, and return the seconds that it has run."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    spent = cpu_seconds([process.pid])
    if process.wait() != 0:
        raise RuntimeError(f"the tracer ended with status {process.returncode}")
    return spent


def _perf(words: Sequence[str]) -> list[str]:
    """Return a perf command that finds tracefs, and does not mount it for everybody."""
    return ["unshare", "--mount", "sh", "-c", f'{_MOUNTING}; exec perf "$@"', "sh", *words]
