"""``utracectl doctor``: what works here, and why not."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Show what works here, what not, why, and what to do; of a process too."
EXAMPLE = "utracectl doctor 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        f"{HELP}\nThe exit status is 0 where the process, or without one anything, can be traced, else 1."
    )
    parser.add_argument("pid", nargs="?", type=pid_argument, metavar="PID", help="a process that you want to trace")
    parser.add_argument("--json", action="store_true", help="what was found as JSON")


def run(options: argparse.Namespace) -> int:
    """Look and print."""
    from utracectl.doctor import show_check

    return show_check(options.pid, json=options.json, host=options.host)
