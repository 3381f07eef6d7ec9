"""``doctor``: what works here, what not, why, and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct, ValidationError, convert

from utracectl import VERSION, surroundings
from utracectl.client import Client, client_of, connect
from utracectl.connect import NotConnected, connect_socket, find_daemon, start_worker
from utracectl.exit_codes import ERROR, OK
from utracectl.messages import terminal_text
from utracectl.showing import print_json, print_line
from utraced.api.daemon import PROTOCOL, Check, Checked, Finding, Hello
from utraced.errors import MethodNotFound, PermissionDenied, UtracedError

_SUBJECT = 17
"""Columns of what a finding is about."""
_NARROWEST = 60


class Welcome(Struct):
    """Of what ``daemon.hello`` tells, what is of interest here."""

    version: str = "?"
    protocol: int = 0
    access: str = "full"
    tracer_pid: int = 0
    target_user: str = "?"
    pid_namespace: int = 0


class Report(NamedTuple):
    """What was found: about this side, about the daemon and its machine, about a process; and what it comes to."""

    client: tuple[Finding, ...]
    conclusion: Finding
    daemon: tuple[Finding, ...] = ()
    process: tuple[Finding, ...] | None = None


def show_check(pid: int | None, *, json: bool, host: str | None = None) -> int:
    """Print what works, of process ``pid`` if given; return whether that can be traced as an exit status."""
    report = examine(pid, host)
    if json:
        print_json({name: value for name, value in report._asdict().items() if value is not None})
    else:
        for line in report_lines(report, width=_width()):
            print_line(line)
    return OK if report.conclusion.verdict in {"works", "limited"} else ERROR


def examine(pid: int | None, host: str | None = None) -> Report:
    """Look at this side, and have the daemon look at its own."""
    found = [surroundings.program()]
    if host is not None:
        found.append(Finding(subject="connection", verdict="works", text=f"to {host}, by ssh"))
        with connect(host=host) as client:
            return _ask(client, found, _hello(client), pid)
    found.append(surroundings.sandbox())
    try:
        daemon = find_daemon()
    except NotConnected as error:
        # What happened, and behind the last colon what to do.
        text, _, hint = str(error).rpartition(": ")
        return _unconnected(found, pid, text, f"{hint[:1].upper()}{hint[1:]}.")
    if daemon.link is not None:
        # Not ``usual``: the client would go on with a private worker by itself, and we could not tell.
        with client_of(daemon.link._replace(usual=False), again=connect_socket) as client:
            try:
                welcome = _hello(client)
            except PermissionDenied as error:
                refusal = error
            else:
                found += [surroundings.around(), surroundings.pids(welcome.pid_namespace)]
                found.append(Finding(subject="connection", verdict="works", text=f"to the daemon at {daemon.path}"))
                return _ask(client, found, welcome, pid)
        if os.environ.get("UTRACED_SOCKET"):
            return _unconnected(found, pid, refusal.message, refusal.hint)
        text = f"{refusal.message} ({daemon.path}): a private worker traces"
        found.append(Finding(subject="connection", verdict="limited", text=text))
    else:
        text = f"no daemon listens: a private worker traces ({', '.join(daemon.passed)})"
        hint = "For several tools on one process start a daemon: utraced --socket PATH, and name it by UTRACED_SOCKET."
        found.append(Finding(subject="connection", verdict="works", text=text, hint=hint))
    with client_of(start_worker()) as client:
        return _ask(client, found, _hello(client), pid)


def report_lines(report: Report, *, width: int | None) -> Iterator[str]:
    """Yield the lines for a person; those longer than ``width`` columns are broken, None: none is."""
    groups = {"This side": report.client, "The daemon": report.daemon, "The process": report.process or ()}
    for title, findings in groups.items():
        if findings:
            yield title
            for finding in findings:
                yield from _lines(finding, width)
            yield ""
    yield from _broken(report.conclusion.text, "", width)
    if report.conclusion.hint:
        yield from _broken(report.conclusion.hint, "", width)


def _hello(client: Client) -> Welcome:
    """Have the daemon introduce itself, whatever else one of another version says or leaves out."""
    told = client.call_raw(Hello.method, {"client": f"utracectl {VERSION}"})
    try:
        return convert(told, Welcome)
    except ValidationError:
        return Welcome()


def _ask(client: Client, found: Sequence[Finding], welcome: Welcome, pid: int | None) -> Report:
    """Return the report of what the daemon finds."""
    ours = (*found, _daemon(welcome))
    try:
        return _report(ours, client.call(Check(pid=pid)))
    except MethodNotFound:
        text = f"The daemon, of version {welcome.version}, is too old to say."
        return Report(
            ours, Finding(subject="conclusion", verdict="unknown", text=text, hint="Restart it with this version.")
        )
    except UtracedError as error:
        if pid is None:
            raise
        # What else works is worth knowing all the same.
        report = _report(ours, client.call(Check()))
        return report._replace(conclusion=_cannot(pid, error.message, error.hint))


def _unconnected(found: Sequence[Finding], pid: int | None, text: str, hint: str) -> Report:
    """Return the report where nobody can be asked."""
    return Report((*found, Finding(subject="connection", verdict="no", text=text, hint=hint)), _cannot(pid, text, hint))


def _report(ours: tuple[Finding, ...], checked: Checked) -> Report:
    return Report(ours, checked.conclusion, checked.findings, checked.process)


def _daemon(welcome: Welcome) -> Finding:
    """Tell who answers, and whether it fits us."""
    text = f"version {welcome.version}, process {welcome.tracer_pid}, traces as {welcome.target_user}"
    if welcome.access != "full":
        text += ", lets this session only look"
    if (welcome.version, welcome.protocol) != (VERSION, PROTOCOL):
        return Finding(
            subject="daemon",
            verdict="limited",
            text=text,
            hint=f"This utracectl is of version {VERSION}: restart the daemon with the same.",
        )
    return Finding(subject="daemon", verdict="works", text=text)


def _cannot(pid: int | None, text: str, hint: str | None) -> Finding:
    """Return a conclusion of our own."""
    what = "" if pid is None else f" process {pid}"
    return Finding(subject="conclusion", verdict="no", text=f"You cannot trace{what}: {text}.", hint=hint)


def _lines(finding: Finding, width: int | None) -> Iterator[str]:
    """Yield the lines of one finding."""
    before = f"  {finding.verdict:<8} {terminal_text(finding.subject):<{_SUBJECT}}"
    yield from _broken(finding.text, before, width)
    if finding.hint:
        yield from _broken(finding.hint, " " * (len(before) + 2), width)


def _broken(text: str, before: str, width: int | None) -> Iterator[str]:
    """Yield ``text``, made safe to show, ``before`` it what stands there in the first line, and in others its room."""
    line = before + terminal_text(text)
    if width is None or len(line) <= width:
        yield line
        return
    from textwrap import wrap

    yield from wrap(line, width, subsequent_indent=" " * len(before), drop_whitespace=True)


def _width() -> int | None:
    """Return the columns of our terminal, None where stdout is none."""
    if not sys.stdout.isatty():
        return None
    return max(_NARROWEST, os.get_terminal_size(sys.stdout.fileno()).columns)
