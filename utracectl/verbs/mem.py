"""``utracectl mem``: a process's memory."""

from __future__ import annotations

import argparse

from utracectl.numbers import address_argument, count_argument, size_argument
from utracectl.pids import pid_argument

HELP = "Read, write or search the memory of a process."
EXAMPLE = "utracectl mem read 4711 0x7ffd0f1e2ab8 64"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of each of the three."""
    parser.description = f"{HELP}\nNothing is stopped. Addresses are written 0x…; utracectl maps shows what there is."
    verbs = parser.add_subparsers(dest="what", required=True, metavar="read|write|search")
    read = verbs.add_parser("read", help="print memory as xxd -g1 does", allow_abbrev=False)
    _process(read)
    read.add_argument("address", type=address_argument, metavar="ADDRESS", help="of the first byte")
    read.add_argument("size", type=size_argument, metavar="SIZE", help="how many bytes")
    read.add_argument("-o", "--output", metavar="FILE", help="write the bytes to FILE")
    read.add_argument("--raw", action="store_true", help="write the bytes to stdout as they are")
    write = verbs.add_parser("write", help="write memory, text that is read-only too", allow_abbrev=False)
    _process(write)
    write.add_argument("address", type=address_argument, metavar="ADDRESS", help="of the first byte")
    write.add_argument("data", metavar="HEX|@FILE", help="the bytes, as '48 89 e5', or the contents of FILE")
    search = verbs.add_parser("search", help="print where bytes stand", allow_abbrev=False)
    _process(search)
    search.add_argument("pattern", metavar="HEX|@FILE|TEXT", help="the bytes, as '48 89 e5', or the contents of FILE")
    search.add_argument("-t", "--text", action="store_true", help="the pattern is text, as it is written")
    search.add_argument("-n", "--count", type=count_argument, metavar="N", help="at most N addresses")
    search.add_argument("--start", type=address_argument, default=0, metavar="ADDRESS", help="from here on")
    search.add_argument("--end", type=address_argument, metavar="ADDRESS", help="up to here")


def run(options: argparse.Namespace) -> int:
    """Do what is asked."""
    from utracectl.memory import read_memory, search_memory, write_memory

    return {"read": read_memory, "write": write_memory, "search": search_memory}[options.what](options)


def _process(parser: argparse.ArgumentParser) -> None:
    """Declare what the three have in common."""
    parser.add_argument("--json", action="store_true", help="the answer as JSON")
    parser.add_argument("pid", type=pid_argument, metavar="PID", help="the process")
