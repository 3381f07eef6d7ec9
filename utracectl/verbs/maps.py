"""``utracectl maps``: a process's memory mappings."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Show the memory mappings of a process, as /proc/PID/maps has them."
EXAMPLE = "utracectl maps 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pid", type=pid_argument, help="the process")
    parser.add_argument("--json", action="store_true", help="the list as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the mappings."""
    from utracectl.looking import show_maps

    return show_maps(options.pid, json=options.json, host=options.host)
