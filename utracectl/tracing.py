"""One run of ``utracectl trace``: from the options to the exit status."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from utracectl.command import find_program
from utracectl.connect import connect_socket
from utracectl.messages import WrongUsage, say
from utracectl.output import Output, open_output
from utracectl.pids import is_pid

if TYPE_CHECKING:
    from utraced.api.engine import CallFilter

_OTHER_QUALIFIERS = frozenset(
    {
        "abbrev",
        "verbose",
        "raw",
        "signal",
        "signals",
        "s",
        "read",
        "reads",
        "r",
        "write",
        "writes",
        "w",
        "fault",
        "inject",
        "status",
        "quiet",
        "silent",
        "silence",
        "kvm",
        "decode-fd",
        "decode-fds",
        "trace-fd",
        "trace-fds",
        "a",
        "v",
        "x",
    }
)


def trace(options: argparse.Namespace) -> int:
    """Do what the options of ``verbs.trace`` say; returns the exit status, or ends as the command did."""
    host = options.host
    pids = parse_pids(options.attach, own=os.getpid() if host is None else None)
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if words and host is not None:
        raise WrongUsage(f"with -H, name running processes with -p; for a command: ssh {host} utracectl trace COMMAND")
    if not words and not pids:
        raise WrongUsage("name a command to trace, or a process with -p")
    if options.backend == "seccomp" and (pids or not options.follow_forks):
        raise WrongUsage("--backend seccomp is for a command and all its children: add -f, and use no -p")
    selection = parse_calls(options.trace[-1]) if options.trace else None
    if words:
        find_program(words[0])
    output = _output(options, started=bool(words))
    link = connect_socket(host=host)
    # Loaded while an embedded worker loads.
    from utracectl.client import client_of
    from utracectl.trace_run import Run

    with client_of(link, json=options.json, again=connect_socket if host is None else None, notice=say) as client:
        run = Run(client, output, options, selection)
        if words:
            run.start(words)
        run.attach(pids)
        run.follow()
    return run.exit_status()


def parse_pids(values: list[str], *, own: int | None = None) -> list[int]:
    """Return the pids of ``-p``, several in one value too, as strace takes them; each once.

    ``own`` is ours, which cannot be traced.
    """
    pids: list[int] = []
    for word in " ".join(values).replace(",", " ").split():
        if not is_pid(word):
            raise WrongUsage(f"-p {word}: name a process by its number, as utracectl ps shows")
        if int(word) == own:
            raise WrongUsage(f"-p {word}: that is utracectl itself; name another process")
        pids.append(int(word))
    if values and not pids:
        raise WrongUsage("-p: name a process by its number, as utracectl ps shows")
    return list(dict.fromkeys(pids))


def parse_calls(text: str) -> CallFilter | tuple[str | int, ...] | str:
    """Return what ``-e`` selects, in the protocol's words; raises ``WrongUsage``."""
    from utraced.syscalls.filter import NONE, UnknownCall, parse_trace

    qualifier, equals, rest = text.partition("=")
    if equals:
        if qualifier in _OTHER_QUALIFIERS:
            raise WrongUsage(f"-e {qualifier}=… is not supported: only -e trace=SET is")
        if qualifier not in {"trace", "t"}:
            raise WrongUsage(f"-e {text}: write -e trace=SET")
        text = rest
    try:
        selection = parse_trace(text)
    except UnknownCall as error:
        raise WrongUsage(f"-e {error}") from error
    words = tuple(_wire_word(word) for word in selection.words if word != NONE)
    if not selection.inverted:
        return words
    if not words:
        return "all"
    from utraced.api.engine import CallFilter

    return CallFilter(set="all", remove=words)


def _wire_word(word: str) -> str | int:
    """Return a word of strace's as the protocol has it: classes always with a ``%``, numbers as numbers."""
    from utraced.syscalls.classes import BARE

    if word.isascii() and word.isdecimal():
        return int(word)
    return f"%{word}" if word in BARE else word


def _output(options: argparse.Namespace, *, started: bool) -> Output:
    """Return where the trace goes: a command that was started has its stdout for itself."""
    if options.output is not None:
        return open_output(options.output)
    if options.json and not started:
        return Output(1, "stdout")
    return Output(2, "stderr")
