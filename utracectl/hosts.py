"""Names of other hosts on the command line."""

from __future__ import annotations


def is_host(text: str) -> bool:
    """Return whether ``text`` can be handed to ssh(1) as a host: ``host``, ``user@host`` or ``ssh://user@host:port``.

    What begins with ``-`` would be an option to ssh, of which some run programs.
    """
    return bool(text) and not text.startswith("-") and text.isprintable() and not any(map(str.isspace, text))


def host_argument(text: str) -> str:
    """Return the host that ``text`` names; raises argparse's error where it is none."""
    if is_host(text):
        return text
    # Not argparse's business to be loaded for its users.
    from argparse import ArgumentTypeError

    raise ArgumentTypeError(f"{text!r} is no host: name one as for ssh, HOST or USER@HOST, not beginning with -")
