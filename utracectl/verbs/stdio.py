"""``utracectl stdio``: the protocol over standard streams, one line a packet."""

from __future__ import annotations

import argparse

HELP = "Carry the protocol over standard streams: each line is a packet of JSON."
EXAMPLE = """utracectl stdio <<<'{"jsonrpc": "2.0", "id": 1, "method": "daemon.hello"}'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments: what is asked for comes on stdin."""
    parser.description = (
        f"{HELP}\nReplies and events come on stdout. At the end of stdin it waits for the replies that are due\n"
        "and ends, which undoes what was asked for. File descriptors cannot pass."
    )


def run(options: argparse.Namespace) -> int:
    """Carry lines and packets."""
    if options.host is not None:
        from utracectl.remote import become_bridge

        become_bridge(options.host)
    from utracectl.bridge import bridge

    return bridge()
