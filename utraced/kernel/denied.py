"""Why the kernel refuses us a process: the checks of ptrace(2), "Ptrace access mode checking", made again by hand.

The kernel only says EPERM.  Its order is kept, so that the first that fails here is most probably what it meant; what
we cannot see (security modules) is ``policy``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from utraced.errors import NoSuchProcess, PermissionDenied, UtracedError
from utraced.kernel.proc import Process, Stat, Status, comm_of
from utraced.linux.confinement import Ids
from utraced.linux.errno_errors import refused
from utraced.model import text_of

YAMA = "/proc/sys/kernel/yama/ptrace_scope"

_CAP_SYS_PTRACE = 1 << 19
"""linux/include/uapi/linux/capability.h."""

_HINT_YAMA = {
    1: "Start the program with utracectl, or let it call prctl(PR_SET_PTRACER) with the daemon's tracer_pid.",
    2: "Only root may trace here: kernel.yama.ptrace_scope is 2.",
    3: "Nobody may trace here until the next boot: kernel.yama.ptrace_scope is 3.",
}


def why_denied(pid: int) -> UtracedError:
    """Return the best reading of why the kernel refuses us process ``pid``: a PermissionDenied, or that it has ended.

    An unreadable /proc/PID (hidepid, proc(5)) leaves only ``policy``.
    """
    try:
        with Process(pid) as process, Process(os.getpid()) as own:
            return _reason(pid, process, own)
    except NoSuchProcess as error:
        return error
    except PermissionError:
        return refused(f"process {pid}")


@contextmanager
def explained(pid: int) -> Iterator[None]:
    """Raise what ``why_denied`` finds for a PermissionError of the calls on process ``pid`` made inside."""
    try:
        yield
    except PermissionError as error:
        raise why_denied(pid) from error


def yama_scope() -> int:
    """Return Yama's ptrace_scope, 0 where there is no Yama (Documentation/admin-guide/LSM/Yama.rst)."""
    try:
        with open(YAMA, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _reason(pid: int, process: Process, own: Process) -> UtracedError:
    """Make the kernel's checks in turn."""
    stat, status, mine = process.stat(), process.status(), own.status()
    privileged = bool(mine.effective & _CAP_SYS_PTRACE)
    return (
        _itself(pid, status, mine)
        or _not_traceable(pid, stat)
        or (None if privileged else _foreign(pid, process, status, mine))
        or _traced(pid, status)
        or _restricted(pid, privileged=privileged)
        or refused(f"process {pid}")
    )


def _itself(pid: int, status: Status, mine: Status) -> UtracedError | None:
    """A process cannot trace itself, nor the one that traces it without both waiting for ever."""
    if status.process == mine.process:
        return PermissionDenied(
            f"process {pid} is the tracing daemon itself",
            reason="would_deadlock",
            hint="Trace the daemon from outside, with strace or gdb.",
        )
    if status.process == mine.tracer:
        return PermissionDenied(
            f"process {pid} is tracing the daemon",
            reason="would_deadlock",
            hint="Let that tracer detach from the daemon first.",
        )
    return None


def _not_traceable(pid: int, stat: Stat) -> UtracedError | None:
    """Kernel threads have no user space; a zombie has nothing left (linux/kernel/ptrace.c, ptrace_attach)."""
    if stat.kernel_thread:
        return PermissionDenied(
            f"{pid} is a thread of the kernel", reason="policy", hint="Only processes of user space can be traced."
        )
    if stat.state in {"zombie", "dead"}:
        return NoSuchProcess(
            f"process {pid} has ended", hint="Only its exit status is left, which its parent has not fetched."
        )
    return None


def _foreign(pid: int, process: Process, status: Status, mine: Status) -> UtracedError | None:
    """Compare users, groups, capabilities and dumpability as __ptrace_may_access does (linux/kernel/ptrace.c)."""
    if not _same(status.users, mine.users.real):
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
    if not _same(status.groups, mine.groups.real):
        return PermissionDenied(
            f"process {pid} has the rights of group {_other(status.groups, mine.groups.real)}",
            reason="group_differs",
            hint=f"Connect from a shell with the same primary group: newgrp, or sg {status.groups.real}.",
        )
    if status.permitted & ~mine.permitted:
        return PermissionDenied(
            f"process {pid} has capabilities that the tracer has not",
            reason="capabilities",
            hint="Trace it as root: programs with file capabilities are guarded like set-uid ones.",
            missing=f"{status.permitted & ~mine.permitted:#x}",
        )
    # Unlike the directory, the files in /proc/PID belong to root when the process is not dumpable
    # (linux/fs/proc/base.c, task_dump_owner).
    details = process.details("stat")
    if details is not None and details.st_uid != status.users.effective:
        return PermissionDenied(
            f"process {pid} does not let others look into it",
            reason="not_dumpable",
            hint="It once changed its user or called prctl(PR_SET_DUMPABLE, 0); only root may trace it.",
        )
    return None


def _traced(pid: int, status: Status) -> UtracedError | None:
    """Tell who is the one tracer that the kernel allows."""
    if status.tracer in {0, os.getpid()}:
        return None
    comm = text_of(comm_of(status.tracer) or b"")
    return PermissionDenied(
        f"process {pid} is traced by {comm or 'process'} ({status.tracer})",
        reason="traced_by_other",
        hint="Let that tracer go first, or connect to it if it is a utraced.",
        tracer={"pid": status.tracer, "comm": comm},
    )


def _restricted(pid: int, *, privileged: bool) -> UtracedError | None:
    """Apply Yama's rule: 1 and 2 spare those with CAP_SYS_PTRACE."""
    scope = yama_scope()
    if scope not in _HINT_YAMA or (privileged and scope < 3):
        return None
    return PermissionDenied(
        f"Yama (ptrace_scope {scope}) forbids tracing process {pid}", reason="yama", hint=_HINT_YAMA[scope]
    )


def _same(ids: Ids, mine: int) -> bool:
    """Tell whether real, effective and saved id are ours; the file system's does not count."""
    return ids.real == ids.effective == ids.saved == mine


def _other(ids: Ids, mine: int) -> int:
    """Return the first of them that is not ours."""
    return next(value for value in (ids.effective, ids.saved, ids.real) if value != mine)
