"""What this machine, and our own rights on it, let us do: what a client is told of it, each thing by one text."""

from __future__ import annotations

import os
from collections.abc import Iterator

from utraced.api.daemon import Finding, Verdict
from utraced.kernel import questions, yama
from utraced.kernel.obstacles import HINT_NO_PTRACE, NO_PTRACE, privileged
from utraced.kernel.proc import Process, Status
from utraced.linux import confinement, container
from utraced.model import text_of

_PERF_PARANOID = "/proc/sys/kernel/perf_event_paranoid"
_BPF_DISABLED = "/proc/sys/kernel/unprivileged_bpf_disabled"
_RELEASE = "/proc/sys/kernel/osrelease"
_MODULES = "/sys/kernel/security/lsm"
_BTF = "/sys/kernel/btf/vmlinux"
_TRACEFS = "/sys/kernel/tracing/events"

_CAP_SYS_ADMIN = 1 << 21
_CAP_PERFMON = 1 << 38
"""linux/include/uapi/linux/capability.h."""

_MOST = 4096
"""Bytes of one of them that are read."""

_NOT_NEEDED = "Tracing with ptrace does not need it; what records without stopping anything does."
_NOT_ASKED = "not asked: for this call the seccomp filter of the daemon might end it"


def tracing() -> Iterator[Finding]:
    """Yield what decides on tracing: of running processes, of commands that are started for it, and with what."""
    scope = yama.scope()
    restricted = yama.restricts(scope, privileged=privileged(_own_status()))
    forbidden = not questions.may_ptrace()
    for subject, feature in _FEATURES.items():
        if forbidden:
            yield Finding(subject=subject, verdict="no", text=NO_PTRACE, hint=HINT_NO_PTRACE, feature=feature)
        elif restricted and (scope > 1 or subject == "attach"):
            rule, hint = yama.RULES[scope], yama.HINTS[scope]
            yield Finding(subject=subject, verdict="no", text=rule, hint=hint, reason="yama", feature=feature)
        else:
            yield Finding(subject=subject, verdict="works", text=_ABLE[subject], feature=feature)


_FEATURES = {"attach": "attach_running", "start": "attach_started", "ptrace": "backend.ptrace"}
"""The names of ``daemon.hello``, by subject."""
_ABLE = {
    "attach": "running processes can be traced",
    "start": "commands that utracectl starts can be traced",
    "ptrace": "the kernel lets the daemon call ptrace",
}


def machine() -> Iterator[Finding]:
    """Yield what else a person wants to know of the daemon's rights and the machine."""
    mine = _own_status()
    yield _privileges(mine)
    yield _yama(mine)
    yield _sandbox()
    yield _modules()
    yield _container()
    yield Finding(subject="kernel", verdict="works", text=f"Linux {_line(_RELEASE) or 'of an unknown release'}")
    yield _perf()
    yield _bpf(mine)
    yield _file("tracefs", _TRACEFS, "the kernel's trace points can be listed")
    yield _file("BTF", _BTF, "the kernel's types are known, which BPF programs need")


def conclusion(found: list[Finding]) -> Finding:
    """Return what ``tracing`` comes to."""
    by_subject = {finding.subject: finding for finding in found}
    attach, start = by_subject["attach"], by_subject["start"]
    if start.verdict != "works":
        return Finding(
            subject="conclusion", verdict="no", text=f"You cannot trace here: {start.text}.", hint=start.hint
        )
    if attach.verdict != "works":
        return Finding(
            subject="conclusion",
            verdict="limited",
            text=f"You can trace the commands that you start with utracectl: {attach.text}.",
            hint=attach.hint,
        )
    whose = "processes of every user" if privileged(_own_status()) else f"processes of uid {os.getuid()}"
    return Finding(subject="conclusion", verdict="works", text=f"You can trace {whose}.")


def modules() -> str | None:
    """Return the names of the security modules that the kernel runs, None where it does not say."""
    return _line(_MODULES)


def _privileges(mine: Status) -> Finding:
    """Tell as whom we trace."""
    who = f"the daemon traces as uid {mine.users.real}, gid {mine.groups.real}"
    if privileged(mine):
        return Finding(
            subject="privileges", verdict="works", text=f"{who}, with CAP_SYS_PTRACE: processes of all users"
        )
    return Finding(
        subject="privileges",
        verdict="limited",
        text=f"{who}, without CAP_SYS_PTRACE: processes of this very user and group without more capabilities",
        hint="Root may trace those of others.",
    )


def _yama(mine: Status) -> Finding:
    """Tell what Yama says, to us."""
    scope = yama.scope()
    if not yama.present():
        return Finding(subject="yama", verdict="works", text="this kernel does not run Yama")
    if yama.restricts(scope, privileged=privileged(mine)):
        verdict: Verdict = "limited" if scope == 1 else "no"
        return Finding(subject="yama", verdict=verdict, text=yama.RULES[scope], hint=yama.HINTS[scope], reason="yama")
    return Finding(
        subject="yama", verdict="works", text=f"kernel.yama.ptrace_scope is {scope}: it does not restrict the daemon"
    )


def _sandbox() -> Finding:
    """Tell how we are confined ourselves."""
    own = confinement.read(os.getpid())
    said = confinement.reasons(own, own)
    if said:
        # That no execve of ours brings privileges, as it is with every worker, takes nothing from anybody.
        verdict: Verdict = "limited" if own.seccomp else "works"
        return Finding(subject="seccomp", verdict=verdict, text=f"of the daemon: {', '.join(said)}")
    return Finding(subject="seccomp", verdict="works", text="neither seccomp nor no_new_privs confines the daemon")


def _modules() -> Finding:
    """Tell which security modules there are: what they forbid cannot be read, only tried."""
    names = modules()
    if names is None:
        return Finding(
            subject="security modules", verdict="unknown", text=f"the kernel does not say which it runs ({_MODULES})"
        )
    return Finding(subject="security modules", verdict="works", text=f"the kernel runs {names}")


def _container() -> Finding:
    """Tell whether the daemon is in a container."""
    signs = container.signs()
    if not signs:
        return Finding(subject="container", verdict="works", text="nothing tells that the daemon is in a container")
    return Finding(
        subject="container",
        verdict="limited",
        text=f"the daemon seems to be in a container: {', '.join(signs)}",
        hint="Processes outside of it may not be seen from here.",
    )


def _perf() -> Finding:
    """Tell what of the kernel's events we may have."""
    paranoid = _line(_PERF_PARANOID)
    setting = "" if paranoid is None else f" (kernel.perf_event_paranoid is {paranoid})"
    if questions.filtered():
        return Finding(subject="perf events", verdict="unknown", text=f"{_NOT_ASKED}{setting}", hint=_NOT_NEEDED)
    if questions.may_count(kernel=True):
        return Finding(subject="perf events", verdict="works", text=f"of programs and of the kernel{setting}")
    if questions.may_count(kernel=False):
        return Finding(subject="perf events", verdict="limited", text=f"of programs alone{setting}", hint=_NOT_NEEDED)
    return Finding(subject="perf events", verdict="no", text=f"the kernel gives us none{setting}", hint=_NOT_NEEDED)


def _bpf(mine: Status) -> Finding:
    """Tell whether programs could be loaded into the kernel that look at others."""
    disabled = _line(_BPF_DISABLED)
    setting = "" if disabled is None else f" (kernel.unprivileged_bpf_disabled is {disabled})"
    if questions.filtered():
        return Finding(subject="BPF", verdict="unknown", text=f"{_NOT_ASKED}{setting}", hint=_NOT_NEEDED)
    if not questions.may_make_bpf_maps():
        return Finding(
            subject="BPF", verdict="no", text=f"the kernel lets the daemon load none{setting}", hint=_NOT_NEEDED
        )
    if not mine.effective & (_CAP_SYS_ADMIN | _CAP_PERFMON):
        return Finding(
            subject="BPF", verdict="limited", text=f"none that trace, without CAP_PERFMON{setting}", hint=_NOT_NEEDED
        )
    return Finding(subject="BPF", verdict="works", text=f"the kernel lets the daemon load programs{setting}")


def _file(subject: str, path: str, able: str) -> Finding:
    """Tell whether something that the kernel shows at ``path`` is there for us."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return Finding(subject=subject, verdict="no", text=f"{path}: {error.strerror}", hint=_NOT_NEEDED)
    return Finding(subject=subject, verdict="works", text=f"{able} ({path})")


def _own_status() -> Status:
    """Return our own ids, capabilities and confinement."""
    with Process(os.getpid()) as own:
        return own.status()


def _line(path: str) -> str | None:
    """Return what stands in a file of one line, None where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return text_of(file.read(_MOST).strip())
    except OSError:
        return None
