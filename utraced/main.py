"""utraced: which process to be."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from utraced.arch import unsupported_machine
from utraced.version import VERSION

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from utraced.linux.listening import Inherited, Listener

USAGE = 2
NEEDLESS = "typing_extensions"
"""What msgspec takes from there, where it is there, typing has as well; it is a tenth of a broker's memory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run utraced; return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if list(words) == ["--system"] and unsupported_machine() is None:
        # So the service manager starts the broker, which does without what reads other words: 10 % of its memory.
        if NEEDLESS not in sys.modules:
            sys.modules[NEEDLESS] = None  # type: ignore[assignment]  # not to be imported ("The import system")
        return _serve_system(None)
    parser = _parser()
    options = parser.parse_args(words)
    if options.version:
        print(f"utraced {VERSION}")
        return 0
    if (reason := unsupported_machine()) is not None:
        return _failed(reason)
    if options.system:
        return _serve_system(options.socket, options.config)
    if options.connected is not None or options.template is not None:
        return _serve_channel(options.connected, options.template)
    from utraced.configuration import BadConfiguration
    from utraced.linux.listening import CannotListen

    try:
        if options.user is not None:
            return _serve_as(options.user)
        return _listen(options.socket, options.config, parser)
    except (BadConfiguration, CannotListen, ValueError) as error:
        return _failed(str(error))


def _serve_channel(connected: int | None, template: int | None) -> int:
    """Be the private worker of who is at the other end of ``connected``, or the broker's template."""
    from utraced.linux.sockets import check_connected

    try:
        check_connected(template if connected is None else connected)
    except ValueError as error:
        return _failed(str(error))
    if connected is not None:
        from utraced.worker.serve import serve_embedded

        serve_embedded(connected, _attacher)
    elif template is not None:
        from utraced.attacher import starting
        from utraced.worker.template import serve_orders

        serve_orders(template, load_attacher=starting.load, be_attacher=starting.be_attacher)
    return 0


def _serve_system(path: str | None, config: str | None = None) -> int:
    """Be the system's broker."""
    from utraced.broker.serve import serve_system
    from utraced.configuration import BadConfiguration
    from utraced.linux.configuration_file import read_configuration
    from utraced.linux.listening import CannotListen
    from utraced.linux.systemd import Notifier

    try:
        serve_system(_inherited(), path, Notifier(os.environ), read_configuration(config))
    except (BadConfiguration, CannotListen, ValueError) as error:
        return _failed(str(error))
    return 0


def _serve_as(user: str) -> int:
    """Hand connections on to the system's broker; raises CannotListen, ValueError."""
    from utraced.broker.serve import serve_as
    from utraced.linux.systemd import Notifier

    serve_as(user, _inherited(), Notifier(os.environ))
    return 0


def _inherited() -> list[Inherited]:
    """Return the sockets that were passed on to us; raises CannotListen, ValueError."""
    from utraced.linux.listening import Inherited
    from utraced.linux.systemd import passed

    return [Inherited(fd, name) for fd, name in passed(os.environ)]


def _parser() -> ArgumentParser:
    from argparse import SUPPRESS, ArgumentParser

    from utraced.configuration import PLACE

    parser = ArgumentParser(
        prog="utraced",
        description="The tracing daemon: traces processes for the programs that connect to its socket. "
        "Without a daemon utracectl starts a private one by itself.",
        epilog="Under a service manager it listens at the sockets passed on (LISTEN_FDS) as well, and tells it how it "
        "is (NOTIFY_SOCKET). SIGTERM or Ctrl-C ends it: everything it traced runs on.",
    )
    parser.add_argument("--config", metavar="FILE", help=f"a listening daemon's limits; {PLACE} unless given")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument(
        "--socket",
        metavar="PATH",
        help="listen at PATH: for clients of this user and group, or with --system for all",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--system", action="store_true", help="as root: serve all users, each by a worker that runs as that user"
    )
    kinds.add_argument(
        "--as",
        metavar="USER",
        dest="user",
        help="as root: have those who connect at the sockets passed on trace as USER, by the daemon with --system",
    )
    kinds.add_argument("--connected", type=int, metavar="FD", help="serve only the connected SOCK_SEQPACKET socket FD")
    kinds.add_argument("--template", type=int, metavar="FD", help=SUPPRESS)
    return parser


def _listen(path: str | None, config: str | None, parser: ArgumentParser) -> int:
    """Be a daemon of one user's; raises BadConfiguration, CannotListen, ValueError."""
    from utraced.linux.configuration_file import limits_of, read_configuration
    from utraced.linux.listening import Listener
    from utraced.linux.systemd import Notifier

    inherited = _inherited()
    limits = limits_of(read_configuration(config), os.geteuid())
    listeners: list[Listener | Inherited] = [*inherited, *([] if path is None else [Listener(path)])]
    if not listeners:
        parser.print_usage(sys.stderr)
        print("utraced: give --socket PATH to listen at, or run utracectl, which needs no daemon", file=sys.stderr)
        return USAGE
    from utraced.worker.serve import serve_listening

    serve_listening(listeners, Notifier(os.environ), limits, _attacher)
    return 0


def _failed(why: str) -> int:
    print(f"utraced: {why}", file=sys.stderr)
    return 1


def _attacher() -> socket.socket | None:
    """Start an attacher, and return its control socket; None where we lack the capabilities it needs."""
    from utraced.attacher.starting import start

    return start()


if __name__ == "__main__":
    sys.exit(main())
