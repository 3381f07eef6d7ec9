"""utraced: which process to be."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from utraced.arch import unsupported_machine
from utraced.configuration import PLACE, BadConfiguration
from utraced.linux.configuration_file import limits_of, read_configuration
from utraced.linux.listening import CannotListen, Inherited, Listener
from utraced.linux.systemd import Notifier, passed
from utraced.version import VERSION

USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run utraced; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="utraced",
        description="The tracing daemon: traces processes for the programs of one user that connect to its socket. "
        "Without a daemon utracectl starts a private one by itself.",
        epilog="Under a service manager it listens at the sockets passed on (LISTEN_FDS) as well, and tells it how it "
        "is (NOTIFY_SOCKET). SIGTERM or Ctrl-C ends it: everything it traced runs on.",
    )
    parser.add_argument(
        "--config", metavar="FILE", default=PLACE, help=f"a listening daemon's limits; {PLACE} unless given"
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    serving = parser.add_mutually_exclusive_group()
    serving.add_argument(
        "--socket", metavar="PATH", help="listen at PATH, of mode 0600, for clients of this user and group"
    )
    serving.add_argument(
        "--connected", type=int, metavar="FD", help="serve only the connected SOCK_SEQPACKET socket FD"
    )
    options = parser.parse_args(argv)
    if options.version:
        print(f"utraced {VERSION}")
        return 0
    if (reason := unsupported_machine()) is not None:
        print(f"utraced: {reason}", file=sys.stderr)
        return 1
    if options.connected is not None:
        from utraced.worker.serve import serve_embedded

        serve_embedded(options.connected)
        return 0
    try:
        limits = limits_of(read_configuration(options.config), os.geteuid())
        listeners = _listeners(options.socket)
    except (BadConfiguration, CannotListen, ValueError) as error:
        print(f"utraced: {error}", file=sys.stderr)
        return 1
    if not listeners:
        parser.print_usage(sys.stderr)
        print("utraced: give --socket PATH to listen at, or run utracectl, which needs no daemon", file=sys.stderr)
        return USAGE
    from utraced.worker.serve import serve_listening

    serve_listening(listeners, Notifier(os.environ), limits)
    return 0


def _listeners(path: str | None) -> list[Listener | Inherited]:
    """Return the sockets to listen at: those passed on to us, and one at ``path``; raises CannotListen, ValueError."""
    listeners: list[Listener | Inherited] = [Inherited(fd, name) for fd, name in passed(os.environ)]
    if path is not None:
        listeners.append(Listener(path))
    return listeners


if __name__ == "__main__":
    sys.exit(main())
