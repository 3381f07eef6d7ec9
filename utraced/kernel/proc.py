"""One process in /proc, read safely while it may end at any moment (proc(5)).

``Process`` opens the directory /proc/PID once.  What is read through it is of that one process; after it has ended
the kernel answers ESRCH, whoever has its pid then.  Names are bytes: a process may call itself what it likes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from utraced.api.process import State
from utraced.errors import NoSuchProcess
from utraced.linux.confinement import Ids
from utraced.linux.errno_errors import error_of

STATES: dict[str, State] = {
    "R": "running",
    "S": "sleeping",
    "D": "disk_sleep",
    "T": "stopped",
    "t": "tracing_stop",
    "Z": "zombie",
    "X": "dead",
    "P": "parked",
    "I": "idle",
}
"""linux/fs/proc/array.c, task_state_array."""

_PF_KTHREAD = 0x0020_0000
"""linux/include/linux/sched.h."""

Answer = TypeVar("Answer")
_CHUNK = 1 << 16
MISSED, LOOK = 3, 0.001
"""How often a process is asked again, and seconds in between."""
_LONGEST_NAME = 256
"""Bytes of /proc/PID/comm are fewer, also of a thread of the kernel."""


class Stat(NamedTuple):
    """What /proc/PID/stat says; ``start_time`` is its field 22, in clock ticks after boot."""

    pid: int
    comm: bytes
    state: State
    parent: int
    process_group: int
    session: int
    kernel_thread: bool
    threads: int
    start_time: int


class Status(NamedTuple):
    """What /proc/PID/status says; ``memory`` has its Vm, Rss and HugetlbPages lines, in bytes, by name."""

    process: int
    tracer: int
    users: Ids
    groups: Ids
    supplementary_groups: tuple[int, ...]
    permitted: int
    effective: int
    no_new_privs: bool
    seccomp: int
    memory: dict[str, int]


class Process:
    """The directory /proc/PID of one process; use it as a context manager.

    With ``start_time`` it is that process or none.  Raises NoSuchProcess, PermissionError where hidepid hides it.
    """

    __slots__ = ("_directory", "pid")

    def __init__(self, pid: int, start_time: int | None = None) -> None:
        self.pid = pid
        with ending(pid):
            self._directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if start_time is not None:
            try:
                self._check(start_time)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._directory)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Return a descriptor of /proc/PID/``name``, open for reading unless ``flags`` say else; close it.

        Raises NoSuchProcess, and PermissionError: ``denied.explained`` finds its reason.
        """
        with ending(self.pid):
            return os.open(name, flags | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=self._directory)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the content of /proc/PID/``name``, or its first ``limit`` bytes.

        Raises as ``open`` does.
        """
        return asked_again(self.pid, lambda: self._read(name, limit))

    def _read(self, name: str, limit: int | None) -> bytes:
        fd = self.open(name)
        try:
            with ending(self.pid):
                return read_all(fd, limit)
        finally:
            os.close(fd)

    def link(self, name: str) -> bytes | None:
        """Return where the link /proc/PID/``name`` leads; None where there is none (kernel threads, zombies).

        Raises NoSuchProcess and PermissionError.
        """
        with ending(self.pid):
            try:
                return os.readlink(name.encode(), dir_fd=self._directory)
            except FileNotFoundError:
                return None

    def details(self, name: str | bytes) -> os.stat_result | None:
        """Return stat(2) of /proc/PID/``name``, or of what a link there leads to; None where there is none.

        Raises NoSuchProcess and PermissionError.
        """
        with ending(self.pid):
            try:
                return os.stat(name, dir_fd=self._directory)
            except FileNotFoundError:
                return None

    def stat(self) -> Stat:
        """Read and parse /proc/PID/stat; never waits for the process."""
        return parse_stat(self.read("stat"))

    def status(self) -> Status:
        """Read and parse /proc/PID/status; never waits for the process."""
        return parse_status(self.read("status"))

    def arguments(self, limit: int | None = None) -> tuple[bytes, ...]:
        """Return the command line from the process's memory, where it may have changed it; may wait for the process.

        With ``limit``, only what stands in its first ``limit`` bytes.  Empty for kernel threads and zombies.
        """
        return split_strings(self.read("cmdline", limit))

    def _check(self, start_time: int) -> None:
        """Raise NoSuchProcess unless the process started then."""
        if self.stat().start_time != start_time:
            raise NoSuchProcess(f"process {self.pid} has ended, and its pid belongs to another")


def asked_again(pid: int, ask: Callable[[], Answer]) -> Answer:
    """Return what ``ask`` returns; raises NoSuchProcess where the process is gone, also at a second look.

    While a thread that is no leader executes a program, and takes the leader's place, the kernel says for a moment that
    there is no such process (de_thread, fs/exec.c).
    """
    for _ in range(MISSED):
        try:
            return ask()
        except NoSuchProcess:
            if not os.path.exists(f"/proc/{pid}"):
                raise
        time.sleep(LOOK)
    return ask()


@contextmanager
def ending(pid: int) -> Iterator[None]:
    """Raise NoSuchProcess where a call inside finds that process ``pid`` has ended; leave PermissionErrors alone."""
    try:
        yield
    except PermissionError:
        raise
    except OSError as error:
        raise error_of(error, pid=pid) from error


def read_all(fd: int, limit: int | None = None) -> bytes:
    """Return what is left to read of a file, or the first ``limit`` bytes of it; raises OSError."""
    parts: list[bytes] = []
    left = sys.maxsize if limit is None else limit
    while left > 0 and (part := os.read(fd, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def parse_stat(data: bytes) -> Stat:
    """Parse /proc/PID/stat (proc_pid_stat(5)): the name, in parentheses, may hold any byte, parentheses too."""
    opening, closing = data.index(b"("), data.rindex(b")")
    fields = data[closing + 2 :].split()
    return Stat(
        pid=int(data[:opening]),
        comm=data[opening + 1 : closing],
        state=STATES.get(fields[0].decode("ascii", "replace"), "unknown"),
        parent=int(fields[1]),
        process_group=int(fields[2]),
        session=int(fields[3]),
        kernel_thread=bool(int(fields[6]) & _PF_KTHREAD),
        threads=int(fields[17]),
        start_time=int(fields[19]),
    )


def parse_status(data: bytes) -> Status:
    """Parse /proc/PID/status (proc_pid_status(5)); the kernel escapes line feeds in the name, not carriage returns."""
    # Not splitlines, for which a carriage return ends a line too.
    lines = dict(line.split(b":", 1) for line in data.split(b"\n") if b":" in line)
    memory = {
        name.decode("ascii", "replace"): int(value.split()[0]) * 1024
        for name, value in lines.items()
        if name.startswith((b"Vm", b"Rss", b"Huge"))
    }
    return Status(
        process=int(lines[b"Tgid"]),
        tracer=int(lines[b"TracerPid"]),
        users=Ids(*map(int, lines[b"Uid"].split())),
        groups=Ids(*map(int, lines[b"Gid"].split())),
        supplementary_groups=tuple(map(int, lines[b"Groups"].split())),
        permitted=int(lines[b"CapPrm"], 16),
        effective=int(lines[b"CapEff"], 16),
        no_new_privs=int(lines.get(b"NoNewPrivs", b"0")) != 0,
        seccomp=int(lines.get(b"Seccomp", b"0")),
        memory=memory,
    )


def split_strings(data: bytes) -> tuple[bytes, ...]:
    """Return the strings of which each ends with a zero byte; the last one may lack it."""
    return tuple(data.removesuffix(b"\0").split(b"\0")) if data else ()


def comm_of(pid: int) -> bytes | None:
    """Return the name of a process or thread, or None where it has ended or is hidden."""
    try:
        with ending(pid):
            fd = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(fd, _LONGEST_NAME).removesuffix(b"\n")
            finally:
                os.close(fd)
    except (NoSuchProcess, PermissionError):
        return None
