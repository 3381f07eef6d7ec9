"""``utracectl regs``: a thread's registers."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Show the registers of a thread, which is stopped for a moment."
EXAMPLE = "utracectl regs --set general,fp 4711"
SETS = ("general", "fp", "xstate", "debug")
"""Those of ``registers.read``, written here so that --help need not load the protocol."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--set", type=_sets, default=("general",), metavar="LIST", dest="sets", help=f"of {', '.join(SETS)}")
    add("--json", action="store_true", help="the sets as JSON")
    add("pid", type=pid_argument, metavar="PID", help="the process")
    add("tid", type=pid_argument, metavar="TID", nargs="?", help="the thread, by default the one that leads it")


def run(options: argparse.Namespace) -> int:
    """Print registers."""
    from utracectl.registers import show_registers

    return show_registers(options.pid, options.tid, options.sets, json=options.json, host=options.host)


def _sets(text: str) -> tuple[str, ...]:
    """Return the sets of a list."""
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    unknown = [name for name in names if name not in SETS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{(unknown or [text])[0]!r} is no set: they are {', '.join(SETS)}")
    return names
