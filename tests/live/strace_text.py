"""Traces as text, made comparable: lines of one process each, with what differs from run to run taken out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_LINE = re.compile(r"^(\d+) +(.*)$")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>")
_WITH_PIDS = re.compile(
    r"^(v?fork|clone3?|get[pt]id|getp?p?gr?p?id|set_tid_address|wait4|waitpid|waitid|t?g?kill|[gs]etp?gid|[gs]etsid|prlimit64"
    r"|rt_sig(queueinfo|return|timedwait)|sched_\w+|(recv|send)msg|getsockopt|--- |\+\+\+ superseded)"
)
_VARIABLE: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"^(execve\([^,]*, \[.*\], )0x[0-9a-f]+ (/\* \d+ vars? \*/)"), r"\1ENV \2"),
    (re.compile(r"\bsi_([us]time)=\d+( /\* [^*]*\*/)?"), r"\1=TIME"),
    (re.compile(r"^(getppid\(\) = )\d+$"), r"\1PARENT"),
    (re.compile(r"(left \{tv_sec=)[^}]*"), r"\1TIME"),
    (re.compile(r"\b(ru_[us]time)=\{[^}]*\}"), r"\1=TIME"),
    (re.compile(r"^(getrandom\()(\"[^\"]*\"|\[?[^,]*)"), r"\1BYTES"),
    (re.compile(r"htons\((?!9\))\d+\)"), "htons(PORT)"),
    (re.compile(r"^((?:clock_)?(?:gettime|gettimeofday)\(.*)tv_sec=\d+, tv_[nu]sec=\d+"), r"\1TIME"),
    (re.compile(r"^(time\(NULL\) = )\d+( \([^)]*\))?"), r"\1TIME"),
    (re.compile(r"(tv_sec=4, tv_nsec=)\d+"), r"\1REST"),
    (re.compile(r"^(timer(?:fd)?_gettime\(.*it_value=\{)[^}]*"), r"\1TIME"),
    (re.compile(r"^(timer_create\(.*sival_(?:ptr|int)=)[^,}]*"), r"\1VALUE"),
    (re.compile(r"^(?:setitimer|alarm).* = \d+ .*"), r"\g<0>"),
    (re.compile(r"^(sysinfo\().*\)"), r"\1…)"),
    (re.compile(r"(ino=|st_ino=)\d+"), r"\1INODE"),
)
_BEGUN_AGAIN = r"^(v?fork|clone3?)\(.* ERESTARTNOINTR "
"""A child that ends while another is made has that begin again: whether one does depends on who is quicker."""


def of_processes(text: str, ignored: Sequence[str] = ()) -> list[list[str]]:
    """Return the lines of each thread, threads by age, each call on one line.

    ``ignored`` are regular expressions of calls that depend on who is quicker.
    """
    threads: dict[str, list[str]] = {}
    unfinished: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        assert match, f"no line of a trace: {line!r}"
        tid, rest = match.groups()
        lines = threads.setdefault(tid, [])
        if rest.endswith(_UNFINISHED):
            unfinished[tid] = rest.removesuffix(_UNFINISHED)
            continue
        resumed = _RESUMED.match(rest)
        if resumed and tid in unfinished:
            rest = unfinished.pop(tid) + rest[resumed.end() :]
        elif tid in unfinished and rest.startswith("+++ superseded"):
            # What the leader was in is over; the line that follows resumes the call of the thread that took its tid.
            lines.append(unfinished.pop(tid) + _UNFINISHED)
            former = rest.split()[-2]
            if former in unfinished:
                unfinished[tid] = unfinished.pop(former)
        elif tid in unfinished and rest.startswith("+++"):
            lines.append(unfinished.pop(tid) + _UNFINISHED)
        lines.append(rest)
    for tid, rest in unfinished.items():
        threads[tid].append(rest + _UNFINISHED)
    order = _by_age(list(threads))
    names = {tid: f"P{index}" for index, tid in enumerate(order, 1)}
    known = re.compile(r"\b(" + "|".join(names) + r")\b")
    skip = [re.compile(each) for each in (_BEGUN_AGAIN, *ignored)]
    found: list[list[str]] = []
    for tid in order:
        plain = [_plain(line, known, names) for line in threads[tid]]
        found.append(_children_told_last([line for line in plain if not any(each.search(line) for each in skip)]))
    return found


def _by_age(tids: list[str]) -> list[str]:
    """Return tids in the order in which they were given, from the first one on; they begin again at the highest."""
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    return sorted(tids, key=lambda tid: (int(tid) - int(tids[0])) % most)


def _plain(line: str, known: re.Pattern[str], names: dict[str, str]) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"\) += ", ") = ", line)
    if _WITH_PIDS.match(line):
        line = known.sub(lambda match: names[match[0]], line)
    for pattern, replacement in _VARIABLE:
        line = pattern.sub(replacement, line)
    return line


def _children_told_last(lines: list[str]) -> list[str]:
    """Put the news of children at the end: when it comes depends on who is quicker."""
    news = [line for line in lines if line.startswith("--- SIGCHLD")]
    return [line for line in lines if not line.startswith("--- SIGCHLD")] + sorted(news)
