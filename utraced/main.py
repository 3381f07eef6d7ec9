"""utraced: which process to be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from utraced.arch import unsupported_machine
from utraced.version import VERSION

USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run utraced; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="utraced",
        description="The tracing daemon. In this version it serves one client over a connected descriptor; "
        "utracectl starts it so by itself.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--connected", type=int, metavar="FD", help="serve the connected SOCK_SEQPACKET socket FD")
    options = parser.parse_args(argv)
    if options.version:
        print(f"utraced {VERSION}")
        return 0
    if (reason := unsupported_machine()) is not None:
        print(f"utraced: {reason}", file=sys.stderr)
        return 1
    if options.connected is None:
        parser.print_usage(sys.stderr)
        print("utraced: give --connected FD, or run utracectl, which does", file=sys.stderr)
        return USAGE
    from utraced.worker.serve import serve_embedded

    serve_embedded(options.connected)
    return 0


if __name__ == "__main__":
    sys.exit(main())
