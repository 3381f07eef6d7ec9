"""``utracectl call``: any method of the protocol, by name."""

from __future__ import annotations

import argparse

HELP = "Call a method of the daemon and print its result as JSON."
EXAMPLE = "utracectl call process.info pid=4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("method", metavar="METHOD", help="as memory.read")
    parser.add_argument(
        "parameters",
        nargs="*",
        metavar="NAME=VALUE",
        help="a parameter: JSON where it is JSON, else text; NAME=@FILE passes FILE, open for reading and writing",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the contents of the file descriptor that comes with the result to FILE",
    )
    parser.add_argument("--json", action="store_true", help="print the result on one line")


def run(options: argparse.Namespace) -> int:
    """Call and print."""
    from utracectl.calling import call

    return call(options.method, options.parameters, compact=options.json, output=options.output, host=options.host)
