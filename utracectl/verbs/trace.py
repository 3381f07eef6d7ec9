"""``utracectl trace``: the system calls of a command or of running processes, in strace's text."""

from __future__ import annotations

import argparse

HELP = "Show the system calls of a command, or of running processes, as strace does."
EXAMPLE = "utracectl trace -f -e trace=%file -- make"
LONGEST_STRING = 65_536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare strace's letters."""
    parser.usage = "utracectl trace [OPTION]... [-p PID]... [--] [COMMAND [ARGUMENT]...]"
    add = parser.add_argument
    add("-f", "--follow-forks", action="store_true", help="trace new processes of the traced ones too")
    add("-p", "--attach", action="append", default=[], metavar="PID", help="trace process PID; may be repeated")
    add("-o", "--output", metavar="FILE", help="write to FILE instead of stderr")
    add("-e", "--trace", action="append", default=[], metavar="trace=SET",
        help="only the calls in SET: names, classes as %%file, /REGEX; ! before it: all others")  # fmt: skip
    add("-s", "--string-limit", type=_length, default=32, metavar="N",
        help="show at most N bytes of a string (default 32)")  # fmt: skip
    add("-q", "--quiet", action="count", default=0, help="do not tell of attaching; twice: nor of exits")
    add("-Z", "--failed-only", action="store_true", help="only calls that fail")
    add("--path-prefix", metavar="TEXT", help="only calls that name a path that begins with TEXT, as it is written")
    add("--json", action="store_true", help="one event a line, as JSON")
    add("--backend", choices=("auto", "kernel", "perf", "ptrace", "seccomp"), default="auto",
        help="what records the calls: the kernel, by programs or by events (perf), or ptrace; seccomp: only the"
             " selected calls stop, of a command, with -f; what it starts ends with the daemon")  # fmt: skip
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command to start, with its arguments")


def run(options: argparse.Namespace) -> int:
    """Trace; returns the command's exit status, or ends as it did."""
    from utracectl.tracing import trace

    return trace(options)


def _length(text: str) -> int:
    """Return the number of bytes that -s gives."""
    if not text.isdecimal() or not 0 <= int(text) <= LONGEST_STRING:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes from 0 to {LONGEST_STRING}")
    return int(text)
