"""``utracectl ps``: the processes that may be traced, as a tree."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Show the processes that you may trace, as a tree."
EXAMPLE = "utracectl ps 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pid", nargs="?", type=pid_argument, help="only this process and its descendants")
    parser.add_argument("--json", action="store_true", help="the list as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the tree."""
    from utracectl.looking import show_processes

    return show_processes(options.pid, json=options.json, host=options.host)
