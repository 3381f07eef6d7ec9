"""``utracectl events``: what happens to running processes, one JSON event a line."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Print what happens to running processes, one JSON event a line."
EXAMPLE = "utracectl events -f --events exec,death 4711"
NAMES = (
    "clone",
    "death",
    "exec",
    "exit",
    "job_control",
    "library",
    "reap",
    "signal",
    "syscall_entry",
    "syscall_exit",
    "vfork_done",
)
"""Those of ``engine.attach``, written here so that --help need not load the protocol."""
USUAL = tuple(name for name in NAMES if name != "reap")
"""An engine that is told of it lasts as long as a zombie that nobody waits for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        f"{HELP}\nThey are not stopped, and go on when this ends: by Ctrl-C, or when all of them have ended."
    )
    add = parser.add_argument
    add("-f", "--follow", action="store_true", help="tell of the processes that they start too")
    add(
        "--events",
        type=_names,
        default=USUAL,
        metavar="LIST",
        help=f"these, by default all but reap: {', '.join(NAMES)}",
    )
    add("pid", nargs="+", type=pid_argument, metavar="PID", help="a process")


def run(options: argparse.Namespace) -> int:
    """Print events until the end."""
    from utracectl.watching import watch

    return watch(options.pid, options.events, follow=options.follow, host=options.host)


def _names(text: str) -> tuple[str, ...]:
    """Return the events of a list."""
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{(unknown or [text])[0]!r} is no event: they are {', '.join(NAMES)}")
    return names
