"""``utracectl kill``: a signal for a process."""

from __future__ import annotations

import argparse

from utracectl.pids import pid_argument

HELP = "Send a signal to a process, or to one of its threads."
EXAMPLE = "utracectl kill -s USR1 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("-s", "--signal", default="SIGTERM", metavar="SIGNAL", help="as USR1, SIGRT_3 or 10 (default: %(default)s)")
    add("--tid", type=pid_argument, metavar="TID", help="for this thread of the process alone")
    add("--json", action="store_true", help="the answer as JSON")
    add("pid", type=pid_argument, metavar="PID", help="the process")


def run(options: argparse.Namespace) -> int:
    """Send the signal."""
    from utracectl.killing import kill, signal_of

    return kill(options.pid, options.tid, signal_of(options.signal), json=options.json, host=options.host)
