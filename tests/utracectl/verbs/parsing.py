"""A verb's arguments, read as the command line reads them."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from utracectl.main import Verb


class Wrong(Exception):
    """The arguments are wrong; the text says how."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Wrong(message)


def parsed(verb: Any, *words: str, host: str | None = None) -> argparse.Namespace:
    """Return the options of ``words``, on this machine or on ``host``; raises ``Wrong``."""
    typed: Verb = verb
    parser = _Parser(prog="verb", allow_abbrev=False)
    typed.add_arguments(parser)
    options = parser.parse_args(words)
    options.host = host
    return options
