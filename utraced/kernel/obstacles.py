"""What keeps us from tracing a process: the checks of ptrace(2), "Ptrace access mode checking", made again by hand.

The kernel only says EPERM.  Its order is kept, so that the first obstacle is most probably what it meant.  What
cannot be seen, as security modules, is not among them: ``questions.may_access`` asks the kernel itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, NamedTuple

from utraced.errors import NoSuchProcess, PermissionDenied, UtracedError
from utraced.kernel import questions, yama
from utraced.kernel.proc import Process, Stat, Status, comm_of
from utraced.linux.capability_names import capability_names
from utraced.linux.confinement import Ids
from utraced.model import text_of

CAP_SYS_PTRACE = 1 << 19
"""linux/include/uapi/linux/capability.h."""

NO_PTRACE = "a seccomp filter forbids the daemon to call ptrace"
HINT_NO_PTRACE = "Run it outside of the sandbox or container, or allow ptrace there."

Subject = Literal["daemon", "process", "owner", "group", "capabilities", "dumpable", "tracer", "yama"]

OF_ACCESS: frozenset[Subject] = frozenset({"owner", "group", "capabilities", "dumpable", "yama"})
"""Those that the kernel answers about when it is asked for access; the others are for tracing alone."""


class Obstacle(NamedTuple):
    """One of them: what it is about, and the error by which a client is told."""

    subject: Subject
    error: UtracedError


def obstacles(process: Process, own: Process) -> Iterator[Obstacle]:
    """Yield all that is between us, whose /proc/PID is ``own``, and a process.

    Raises NoSuchProcess and PermissionError (hidepid, proc(5)).
    """
    stat, status, mine = process.stat(), process.status(), own.status()
    if not questions.may_ptrace():
        yield Obstacle("daemon", PermissionDenied(NO_PTRACE, reason="policy", hint=HINT_NO_PTRACE))
    yield from _itself(process.pid, status, mine)
    yield from _not_traceable(process.pid, stat)
    if not privileged(mine):
        yield from _foreign(process, status, mine)
    yield from _traced(process.pid, status)
    yield from _restricted(process.pid, mine)


def privileged(mine: Status) -> bool:
    """Tell whether users, groups, capabilities and dumpability do not matter to us."""
    return bool(mine.effective & CAP_SYS_PTRACE)


def _itself(pid: int, status: Status, mine: Status) -> Iterator[Obstacle]:
    """A process cannot trace itself, nor the one that traces it without both waiting for ever."""
    if status.process == mine.process:
        yield Obstacle(
            "process",
            PermissionDenied(
                f"process {pid} is the tracing daemon itself",
                reason="would_deadlock",
                hint="Trace the daemon from outside, with strace or gdb.",
            ),
        )
    if status.process == mine.tracer:
        yield Obstacle(
            "process",
            PermissionDenied(
                f"process {pid} is tracing the daemon",
                reason="would_deadlock",
                hint="Let that tracer detach from the daemon first.",
            ),
        )


def _not_traceable(pid: int, stat: Stat) -> Iterator[Obstacle]:
    """Kernel threads have no user space; a zombie has nothing left (linux/kernel/ptrace.c, ptrace_attach)."""
    if stat.kernel_thread:
        yield Obstacle(
            "process",
            PermissionDenied(
                f"{pid} is a thread of the kernel", reason="policy", hint="Only processes of user space can be traced."
            ),
        )
    if stat.state in {"zombie", "dead"}:
        yield Obstacle(
            "process",
            NoSuchProcess(
                f"process {pid} has ended", hint="Only its exit status is left, which its parent has not fetched."
            ),
        )


def _foreign(process: Process, status: Status, mine: Status) -> Iterator[Obstacle]:
    """Compare users, groups, capabilities and dumpability as __ptrace_may_access does (linux/kernel/ptrace.c)."""
    pid = process.pid
    if not _same(status.users, mine.users.real):
        yield Obstacle("owner", _of_another(pid, status, mine))
    if not _same(status.groups, mine.groups.real):
        yield Obstacle(
            "group",
            PermissionDenied(
                f"process {pid} has the rights of group {_other(status.groups, mine.groups.real)}",
                reason="group_differs",
                hint=f"Connect from a shell with the same primary group: newgrp, or sg {status.groups.real}.",
            ),
        )
    missing = status.permitted & ~mine.permitted
    if missing:
        yield Obstacle(
            "capabilities",
            PermissionDenied(
                f"process {pid} has capabilities that the tracer has not: {capability_names(missing)}",
                reason="capabilities",
                hint="Trace it as root: programs with file capabilities are guarded like set-uid ones.",
                missing=f"{missing:#x}",
            ),
        )
    # Unlike the directory, the files in /proc/PID belong to root when the process is not dumpable
    # (linux/fs/proc/base.c, task_dump_owner).
    details = process.details("stat")
    if details is not None and details.st_uid != status.users.effective:
        yield Obstacle(
            "dumpable",
            PermissionDenied(
                f"process {pid} does not let others look into it",
                reason="not_dumpable",
                hint="It once changed its user or called prctl(PR_SET_DUMPABLE, 0); only root may trace it.",
            ),
        )


def _of_another(pid: int, status: Status, mine: Status) -> PermissionDenied:
    """Return the error for a process that has not our user alone."""
    if mine.users.effective == 0:
        return PermissionDenied(
            f"process {pid} belongs to uid {status.users.real}, and this root lacks CAP_SYS_PTRACE",
            reason="missing_capability",
            hint="Give the daemon CAP_SYS_PTRACE, or trace as that user.",
            capability="CAP_SYS_PTRACE",
        )
    return PermissionDenied(
        f"process {pid} has the rights of uid {_other(status.users, mine.users.real)}",
        reason="not_owner",
        hint="Ask root or that user; set-uid programs are never yours.",
    )


def _traced(pid: int, status: Status) -> Iterator[Obstacle]:
    """Tell who is the one tracer that the kernel allows."""
    if status.tracer not in {0, os.getpid()}:
        comm = text_of(comm_of(status.tracer) or b"")
        yield Obstacle(
            "tracer",
            PermissionDenied(
                f"process {pid} is traced by {comm or 'process'} ({status.tracer})",
                reason="traced_by_other",
                hint="Let that tracer go first, or connect to it if it is a utraced.",
                tracer={"pid": status.tracer, "comm": comm},
            ),
        )


def _restricted(pid: int, mine: Status) -> Iterator[Obstacle]:
    """Apply Yama's rule."""
    scope = yama.scope()
    if yama.restricts(scope, privileged=privileged(mine)):
        yield Obstacle(
            "yama",
            PermissionDenied(
                f"Yama (ptrace_scope {scope}) forbids tracing process {pid}", reason="yama", hint=yama.HINTS[scope]
            ),
        )


def _same(ids: Ids, mine: int) -> bool:
    """Tell whether real, effective and saved id are ours; the file system's does not count."""
    return ids.real == ids.effective == ids.saved == mine


def _other(ids: Ids, mine: int) -> int:
    """Return the first of them that is not ours."""
    return next(value for value in (ids.effective, ids.saved, ids.real) if value != mine)
