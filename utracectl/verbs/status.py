"""``utracectl status``: who is connected, and what each holds."""

from __future__ import annotations

import argparse

HELP = "Show who is connected to the daemon, and what each session holds."
EXAMPLE = "utracectl status --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="the list as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the sessions."""
    from utracectl.status import show_status

    return show_status(json=options.json, host=options.host)
