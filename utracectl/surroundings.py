"""What only the client's side knows of itself: its version, how it is confined, in what container it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from utracectl import VERSION
from utraced.api.daemon import Finding
from utraced.linux import confinement, container
from utraced.linux.confinement import Confinement, Namespaces
from utraced.linux.container import FIRST_PID_NAMESPACE, FIRST_USER_NAMESPACE

_SYSTEM = 1
"""The process that a system's daemon has its namespaces from."""


def program() -> Finding:
    """Tell which utracectl this is, and what runs it."""
    python = ".".join(map(str, sys.version_info[:3]))
    return Finding(subject="utracectl", verdict="works", text=f"version {VERSION}, Python {python} ({sys.executable})")


def sandbox(read: Callable[[int], Confinement] = confinement.read) -> Finding:
    """Tell whether a daemon that serves the system would take this process for confined, and refuse it.

    ``read`` reads how a process is confined.  Landlock cannot be seen.
    """
    own = read(os.getpid())
    found = confinement.reasons(own, _system(own, read))
    if not found:
        return Finding(
            subject="confinement",
            verdict="works",
            text="no_new_privs, seccomp and namespaces do not confine this process",
        )
    return Finding(
        subject="confinement",
        verdict="limited",
        text=f"of this process: {', '.join(found)}",
        hint="A daemon that serves the system refuses such a process; a private worker may what the process may.",
    )


def around() -> Finding:
    """Tell whether this process is in a container."""
    signs = container.signs()
    if not signs:
        return Finding(subject="container", verdict="works", text="nothing tells that this process is in one")
    return Finding(subject="container", verdict="limited", text=f"this process seems to be in one: {', '.join(signs)}")


def pids(namespace: int) -> Finding:
    """Tell whether the daemon, which is in pid ``namespace``, and this process mean the same by a pid."""
    if os.stat("/proc/self/ns/pid").st_ino == namespace:
        return Finding(subject="pids", verdict="works", text="they mean the same here and to the daemon")
    return Finding(
        subject="pids",
        verdict="limited",
        text="the daemon is in another pid namespace",
        hint="Name processes by their pids there: utracectl ps shows them.",
    )


def same_mounts(own: str, others: str) -> bool:
    """Tell whether two /proc/PID/mountinfo are of one mount namespace: no two mounts have the same id (proc(5))."""
    ids = [{line.split(" ", 1)[0] for line in text.splitlines()} for text in (own, others)]
    return not all(ids) or bool(ids[0] & ids[1])


def _system(own: Confinement, read: Callable[[int], Confinement]) -> Confinement:
    """Return what a daemon of the system is confined by, as far as it can be found out."""
    try:
        return read(_SYSTEM)
    except OSError:
        # Only root may look at process 1.
        pass
    same = same_mounts(_mounts("self"), _mounts(str(_SYSTEM)))
    first = Namespaces(user=FIRST_USER_NAMESPACE, mount=own.namespaces.mount if same else 0, pid=FIRST_PID_NAMESPACE)
    return Confinement(
        users=own.users,
        groups=own.groups,
        permitted=own.permitted,
        effective=own.effective,
        no_new_privs=False,
        seccomp=0,
        namespaces=first,
    )


def _mounts(pid: str) -> str:
    """Return /proc/PID/mountinfo, which everybody may read, "" where it is hidden."""
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="backslashreplace") as file:
            return file.read()
    except OSError:
        return ""
