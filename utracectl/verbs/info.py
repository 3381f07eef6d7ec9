"""``utracectl info``: what is known of a process."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Show what is known of a process."
EXAMPLE = "utracectl info 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pid", type=pid_argument, help="the process")
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the answer."""
    from utracectl.looking import show_info

    return show_info(options.pid, json=options.json, host=options.host)
