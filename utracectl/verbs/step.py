"""``utracectl step``: a thread's instructions, one by one."""

from __future__ import annotations

import argparse

from utracectl.numbers import count_argument
from utracectl.pids import pid_argument

HELP = "Step a thread through its instructions, and print where each leads."
EXAMPLE = "utracectl step -n 20 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = f"{HELP}\nOther threads run on; at the end, or by Ctrl-C, this one does too."
    add = parser.add_argument
    add("-n", "--count", type=count_argument, default=1, metavar="N", help="so many instructions (default: 1)")
    add("--tid", type=pid_argument, metavar="TID", help="this thread instead of the one that leads the process")
    add("--json", action="store_true", help="each step as a JSON event")
    add("pid", type=pid_argument, metavar="PID", help="the process")


def run(options: argparse.Namespace) -> int:
    """Step and print."""
    from utracectl.stepping import step

    return step(options.pid, options.tid, options.count, json=options.json, host=options.host)
