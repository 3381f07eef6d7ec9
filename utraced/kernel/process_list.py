"""Which processes there are, and which of them the kernel lets us look into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from utraced.errors import NoSuchProcess
from utraced.kernel.proc import Process, Stat, comm_of

COMMAND_SIZE = 4096
"""Bytes of a command line that a list shows."""


class Listed(NamedTuple):
    """One process of a list; ``command`` is its command line joined by spaces, or its name in brackets."""

    stat: Stat
    uid: int
    command: bytes
    tracer: int
    tracer_comm: bytes | None


def pids() -> list[int]:
    """Return the pids of all processes that /proc shows us, in order."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())


def subtree(root: int) -> list[int]:
    """Return the pids of ``root`` and of all that descend from it, in order.

    Who has lost its parent is init's child and no longer in the tree.  Raises NoSuchProcess.
    """
    children: dict[int, list[int]] = {}
    known = set()
    for pid in pids():
        try:
            with Process(pid) as process:
                children.setdefault(process.stat().parent, []).append(pid)
                known.add(pid)
        except (NoSuchProcess, PermissionError):
            continue
    if root not in known:
        raise NoSuchProcess(f"process {root} does not exist")
    found = set()
    left = [root]
    while left:
        pid = left.pop()
        # Read one by one, the parents may form a ring when a pid was reused meanwhile.
        if pid not in found:
            found.add(pid)
            left.extend(children.get(pid, ()))
    return sorted(found)


def traceable(candidates: list[int]) -> Iterator[Listed]:
    """Give those of ``candidates`` that we may trace, as far as users, groups, capabilities and dumpability go.

    The kernel is asked, with one readlink that stops and opens nothing (PTRACE_MODE_READ), rather than uids compared:
    it knows of user namespaces.  Threads of the kernel and this process itself are left out.  May wait for processes.
    """
    own = os.getpid()
    for pid in candidates:
        if pid == own:
            continue
        try:
            with Process(pid) as process:
                listed = _listed(process)
        except (NoSuchProcess, PermissionError):
            continue
        if listed is not None:
            yield listed


def _listed(process: Process) -> Listed | None:
    """Return what a list shows of a process; None for threads of the kernel.

    Raises PermissionError where we may not trace it, NoSuchProcess.
    """
    process.link("ns/user")
    stat = process.stat()
    if stat.kernel_thread:
        return None
    status = process.status()
    arguments = process.arguments(COMMAND_SIZE)
    return Listed(
        stat=stat,
        uid=status.users.real,
        command=b" ".join(arguments).rstrip() or b"[" + stat.comm + b"]",
        tracer=status.tracer,
        tracer_comm=comm_of(status.tracer) if status.tracer else None,
    )
