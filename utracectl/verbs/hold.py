"""``utracectl hold``: a process that stands still."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Hold a process still, until Ctrl-C or the end of stdin."
EXAMPLE = "utracectl hold 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = f"{HELP}\nIt says who else holds it: the process goes on when nobody does."
    parser.add_argument("pid", type=pid_argument, metavar="PID", help="the process, with all its threads")
    parser.add_argument("--json", action="store_true", help="say what is held as JSON")


def run(options: argparse.Namespace) -> int:
    """Hold until the end."""
    from utracectl.holding import hold

    return hold(options.pid, json=options.json, host=options.host)
