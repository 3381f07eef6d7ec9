"""Whether one process can be traced, and all that stands in the way, compared with what the kernel itself says."""

from __future__ import annotations

import os
from typing import NamedTuple

from utraced.api.daemon import Finding
from utraced.kernel import allowed, questions, yama
from utraced.kernel.obstacles import OF_ACCESS, Obstacle, Subject, obstacles, privileged
from utraced.kernel.proc import Process, Stat, Status
from utraced.linux import confinement
from utraced.linux.capability_names import capability_names
from utraced.linux.confinement import Ids
from utraced.linux.errno_errors import refused
from utraced.model import text_of

_PRIVILEGES: frozenset[Subject] = frozenset({"owner", "group", "capabilities", "dumpable"})
"""What the same remedy helps against."""

_NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time")

_ORDER: tuple[Subject, ...] = ("daemon", "process", "owner", "group", "capabilities", "dumpable", "tracer", "yama")


class Examined(NamedTuple):
    """What was found, and what it comes to."""

    findings: tuple[Finding, ...]
    conclusion: Finding


class Seen(NamedTuple):
    """What was read of the process, and of ourselves."""

    pid: int
    stat: Stat
    status: Status
    mine: Status
    confined: tuple[str, ...]
    """By what, in plain words."""
    namespaces: tuple[str, ...] | None
    """Those that are not ours, None where they may not be seen."""
    bound: bool
    """Whether we trace it until it ends, or it ends with us."""


def examine(
    pid: int, start_time: int | None = None, *, besides: Obstacle | None = None, bound: bool = False
) -> Examined:
    """Look at process ``pid``, which started at ``start_time`` if that is given.

    Of ``besides``, an obstacle, and ``bound``, that it has to be traced by us, only the caller knows.
    Nothing is attached to.  May wait for the process.  Raises NoSuchProcess, and PermissionError where hidepid hides
    it.
    """
    with Process(pid, start_time) as process, Process(os.getpid()) as own:
        found = list(obstacles(process, own))
        if besides is not None and besides.subject not in {obstacle.subject for obstacle in found}:
            found.append(besides)
        namespaces = _namespaces(process, own)
        seen = Seen(pid, process.stat(), process.status(), own.status(), _sandbox(process), namespaces, bound)
        access = _access(pid)
        # The directory is of one process: that it still answers means that it was this one we asked about.
        process.stat()
    return judge(seen, found, access=access)


def judge(seen: Seen, found: list[Obstacle], *, access: bool | None) -> Examined:
    """Return the findings; ``access`` is what the kernel answers, None where there was nothing to ask about."""
    findings = []
    for subject in _ORDER:
        about = [obstacle for obstacle in found if obstacle.subject == subject]
        # What we read stands back behind what the kernel says.
        overruled = bool(access) and subject in OF_ACCESS
        findings += [_finding(obstacle, overruled=overruled) for obstacle in about] or _free(subject, seen)
    findings += [_confined(seen), _of_namespaces(seen), _asked(seen.pid, found, access=access)]
    return Examined(tuple(findings), _conclude(seen, findings))


def _access(pid: int) -> bool | None:
    """Ask the kernel; None where there is no memory to ask about."""
    try:
        return questions.may_access(pid)
    except OSError:
        return None


def _finding(obstacle: Obstacle, *, overruled: bool) -> Finding:
    """Return an obstacle as a finding."""
    error = obstacle.error
    if overruled:
        return Finding(
            subject=obstacle.subject, verdict="limited", text=f"{error.message}, but the kernel allows access"
        )
    return Finding(
        subject=obstacle.subject,
        verdict="no",
        text=error.message,
        hint=error.hint,
        reason=error.data.get("reason"),
    )


def _free(subject: Subject, seen: Seen) -> list[Finding]:
    """Return that ``subject`` is not in the way."""
    status = seen.status
    override = " (CAP_SYS_PTRACE overrides)" if privileged(seen.mine) else ""
    match subject:
        case "daemon":
            return []
        case "process":
            return [_process(seen.stat)]
        case "owner":
            text = f"{_ids('uid', status.users)}{override}"
        case "group":
            text = f"{_ids('gid', status.groups)}{override}"
        case "capabilities":
            text = f"it has {capability_names(status.permitted)}{override}" if status.permitted else "it has none"
        case "dumpable":
            text = f"does not matter{override}" if override else "it lets others look into it"
        case "tracer" if seen.bound:
            return [_bound()]
        case "tracer":
            text = "this daemon traces it, for all who ask" if status.tracer else "nobody traces it"
        case "yama":
            text = "it does not stand in the way" if yama.present() else "this kernel does not run it"
    return [Finding(subject=subject, verdict="works", text=text)]


def _process(stat: Stat) -> Finding:
    """Tell what the process does."""
    threads = "1 thread" if stat.threads == 1 else f"{stat.threads} threads"
    text = f"{text_of(stat.comm)}, {stat.state.replace('_', ' ')}, {threads}"
    if stat.state == "disk_sleep":
        return Finding(
            subject="process",
            verdict="limited",
            text=text,
            hint="It is in a call of the kernel that nothing interrupts: it can be held only once it leaves that.",
        )
    return Finding(subject="process", verdict="works", text=text)


def _bound() -> Finding:
    """Tell of a process that cannot be let go."""
    return Finding(
        subject="tracer",
        verdict="limited",
        text="this daemon traces it, for all who ask, and for good: a trace has put a seccomp filter into it",
        hint="It and its children end when this daemon ends.",
    )


def _confined(seen: Seen) -> Finding:
    """Tell how the process is confined, which does not keep it from being traced."""
    if not seen.confined:
        return Finding(subject="seccomp", verdict="works", text="it is not confined")
    text = f"{', '.join(seen.confined)}: it can be traced all the same"
    if seen.status.seccomp:
        return Finding(
            subject="seccomp",
            verdict="limited",
            text=text,
            hint="Calls that its filter refuses return the filter's error, or end it.",
        )
    return Finding(subject="seccomp", verdict="works", text=text)


def _of_namespaces(seen: Seen) -> Finding:
    """Tell in which namespaces the process is that are not ours."""
    if seen.namespaces is None:
        return Finding(
            subject="namespaces", verdict="unknown", text="who may not look into a process may not see which it is in"
        )
    if not seen.namespaces:
        return Finding(subject="namespaces", verdict="works", text="they are the daemon's")
    own_view = {"pid": "pids in its arguments are its own", "mnt": "paths are as it sees them"}
    hints = [text for name, text in own_view.items() if name in seen.namespaces]
    hint = f"{'; '.join(hints)}.".capitalize() if hints else None
    text = f"not the daemon's: {', '.join(seen.namespaces)}"
    return Finding(subject="namespaces", verdict="limited" if hints else "works", text=text, hint=hint)


def _asked(pid: int, found: list[Obstacle], *, access: bool | None) -> Finding:
    """Tell what the kernel itself says, and whether what we have read lets one expect it."""
    expected = not any(obstacle.subject in OF_ACCESS for obstacle in found)
    if access is None:
        return Finding(subject="kernel", verdict="unknown", text="it has no memory of which the kernel could be asked")
    if access:
        unexpected = "" if expected else ", against what its ids and settings let one expect"
        return Finding(subject="kernel", verdict="works", text=f"asked, it allows access{unexpected}")
    if not expected:
        # The reasons are told already, each as a finding of its own.
        return Finding(subject="kernel", verdict="no", text="asked, it refuses access")
    names = allowed.modules()
    error = refused(f"process {pid}")
    return Finding(
        subject="kernel",
        verdict="no",
        text=f"{error.message}, though nothing that can be read says why"
        + (f" (security modules: {names})" if names else ""),
        hint=error.hint,
        reason=error.reason,
    )


def _conclude(seen: Seen, findings: list[Finding]) -> Finding:
    """Return the one line that all of it comes to."""
    name = f"process {seen.pid} ({text_of(seen.stat.comm)})"
    against = [finding for finding in findings if finding.verdict == "no"]
    # That the kernel refuses needs no words where a reason is known.
    against = [finding for finding in against if finding.hint] or against
    if not against:
        return Finding(subject="conclusion", verdict="works", text=f"You can trace {name}.")
    prefix = f"process {seen.pid} "
    texts = [
        f"it {text.removeprefix(prefix)}" if text.startswith(prefix) else text
        for text in (finding.text for finding in against)
    ]
    hints: dict[str, str] = {}
    for finding in against:
        kind = "privileges" if finding.subject in _PRIVILEGES else finding.subject
        hints.setdefault(kind, finding.hint or "")
    return Finding(
        subject="conclusion",
        verdict="no",
        text=f"You cannot trace {name}: {'; '.join(texts)}.",
        hint=" ".join(filter(None, hints.values())),
        reason=against[0].reason,
    )


def _sandbox(process: Process) -> tuple[str, ...]:
    """Return what confines a process, except for its namespaces."""
    its = confinement.parse(process.read("status"), confinement.Namespaces(0, 0, 0))
    return confinement.reasons(its, its)


def _namespaces(process: Process, own: Process) -> tuple[str, ...] | None:
    """Return the kinds of namespaces in which a process is and we are not; None where we may not see it."""
    different = []
    for name in _NAMESPACES:
        try:
            its = process.link(f"ns/{name}")
        except PermissionError:
            return None
        # None: kernel threads and zombies have only some.
        if its is not None and its != own.link(f"ns/{name}"):
            different.append(name)
    return tuple(different)


def _ids(kind: str, ids: Ids) -> str:
    """Return three ids, once where they are the same."""
    if ids.real == ids.effective == ids.saved:
        return f"{kind} {ids.real}"
    return f"{kind}s real {ids.real}, effective {ids.effective}, saved {ids.saved}"
