"""How a process is confined: what of it the kernel shows in /proc (proc_pid_status(5), namespaces(7)).

A daemon that does for its peer what the peer is kept from doing is a way out of a sandbox.  ``reasons`` names what
keeps a process from something that ours may.  Landlock is not shown; but who is not privileged needs no_new_privs
for it, as for seccomp (landlock_restrict_self(2), seccomp(2)), and neither of them can be undone.
"""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple, Self

from msgspec import Struct

_SECCOMP = {1: "it runs in seccomp's strict mode", 2: "a seccomp filter is installed"}
"""Documentation/userspace-api/seccomp_filter.rst."""
_LINES = re.compile(rb"^(Uid|Gid|CapPrm|CapEff|NoNewPrivs|Seccomp):([^\n]*)", re.MULTILINE)
"""Those few of some sixty lines: splitting them all would take ten times as long."""
_CHUNK = 1 << 13


class Ids(NamedTuple):
    """The four user or group ids of a process (credentials(7))."""

    real: int
    effective: int
    saved: int
    file_system: int


class Namespaces(NamedTuple):
    """The inode numbers of three of a process's namespaces; the kernel gives no two living ones the same."""

    user: int
    mount: int
    pid: int


class Confinement(Struct, frozen=True):
    """What a process may and may not, as its first thread has it.

    ``users``, ``groups``: its ids.  ``permitted``, ``effective``: its capabilities, bit N is number N of
    linux/include/uapi/linux/capability.h.  ``no_new_privs``: no execve raises its privileges.  ``seccomp``: 0 off,
    1 strict, 2 filters.
    """

    users: Ids
    groups: Ids
    permitted: int
    effective: int
    no_new_privs: bool
    seccomp: int
    namespaces: Namespaces


class View:
    """One process, opened to look at how it is confined, more than once: it stays that one whoever has its pid later.

    Use it as a context manager.  Raises OSError as ``read`` does.
    """

    __slots__ = ("_directory", "_last", "_status", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._last: tuple[bytes, Namespaces, Confinement] | None = None
        self._directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._status = os.open("status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except BaseException:
            os.close(self._directory)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._status)
        os.close(self._directory)

    def read(self) -> Confinement:
        """Read how the process is confined now; raises OSError as ``read`` does."""
        try:
            namespaces = Namespaces(*map(self._namespace, ("user", "mnt", "pid")))
            # Last: what confines for good may have come meanwhile, and is seen.
            status = self._read_status()
            if self._last is None or self._last[:2] != (status, namespaces):
                self._last = status, namespaces, parse(status, namespaces)
        except (KeyError, ValueError) as error:
            raise OSError(errno.ENODATA, f"/proc/{self.pid} is not what it should be: {error}") from error
        return self._last[2]

    def root(self) -> tuple[int, int]:
        """Return which directory is the root of the process: device and inode; raises OSError as ``read`` does."""
        status = os.stat("root", dir_fd=self._directory)
        return status.st_dev, status.st_ino

    def _namespace(self, name: str) -> int:
        """Return the inode number of a namespace: its link says it, "user:[4026531837]" (namespaces(7))."""
        link = os.readlink(f"ns/{name}", dir_fd=self._directory)
        kind, _, number = link.removesuffix("]").partition(":[")
        if kind != name:
            raise ValueError(f"ns/{name} leads to {link}")
        return int(number)

    def _read_status(self) -> bytes:
        """Read all of the file; the kernel makes it when its beginning is read, so that its lines belong together."""
        parts: list[bytes] = []
        size = 0
        while part := os.pread(self._status, _CHUNK, size):
            parts.append(part)
            size += len(part)
        return b"".join(parts)


def read(pid: int) -> Confinement:
    """Read how process ``pid`` is confined.

    Raises OSError: ENOENT or ESRCH where it has ended, EACCES where we may not look into it (PTRACE_MODE_READ, which
    its namespaces need), ENODATA where the kernel does not say it.  A pid may be reused: verify a pidfd after it.
    """
    with View(pid) as view:
        return view.read()


def parse(status: bytes, namespaces: Namespaces) -> Confinement:
    """Parse /proc/PID/status.

    Raises KeyError where a line is missing, ValueError where it does not have its form.  Only the line of seccomp
    may be missing, of kernels built without.
    """
    # The name in the first line may have a carriage return; a line feed in it is escaped.
    lines = dict(_LINES.findall(status))
    return Confinement(
        users=_ids(lines[b"Uid"]),
        groups=_ids(lines[b"Gid"]),
        permitted=int(lines[b"CapPrm"], 16),
        effective=int(lines[b"CapEff"], 16),
        no_new_privs=int(lines[b"NoNewPrivs"]) != 0,
        seccomp=int(lines.get(b"Seccomp", b"0")),
        namespaces=namespaces,
    )


def reasons(of: Confinement, ours: Confinement) -> tuple[str, ...]:
    """Return, in plain words, all that keeps a process from something that ours may; empty where nothing does.

    Capabilities and ids are left to who needs to compare them.
    """
    found = ["no_new_privs is set"] if of.no_new_privs else []
    if of.seccomp:
        found.append(_SECCOMP.get(of.seccomp, f"it is in seccomp's mode {of.seccomp}"))
    found.extend(
        f"it is in another {name} namespace"
        for name, its, our in zip(Namespaces._fields, of.namespaces, ours.namespaces, strict=True)
        if its != our
    )
    return tuple(found)


def _ids(line: bytes) -> Ids:
    """Parse a line of four ids."""
    values = line.split()
    if len(values) != len(Ids._fields):
        raise ValueError(f"{len(values)} ids where there should be four")
    return Ids(*map(int, values))
