"""The command line: finds the verb, and ends with the right status.

Nothing heavy is loaded before the verb runs: each verb's module declares its arguments without what carries them out.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn, Protocol, cast

from utracectl import VERSION
from utracectl.exit_codes import ERROR, FAILED, HELP, OK, USAGE
from utracectl.messages import Failure, WrongUsage, error_text, say

VERBS = ("trace", "ps", "info", "maps", "call")
"""One module of ``verbs`` each."""


class Verb(Protocol):
    """What a verb's module offers."""

    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Carry the verb out and return the exit status."""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """See ``ArgumentParser.error``."""
        say(f"{message} (see {self.prog} --help)")
        sys.exit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run utracectl with ``arguments``, by default the process's, and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILED
    except Failure as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our stdout has seen enough; what is buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ERROR
    except Exception as error:
        # Light, but of no use to --help and --version.
        from utraced.errors import UtracedError

        if not isinstance(error, UtracedError):
            traceback.print_exc()
            return FAILED
        say(error_text(error))
        return ERROR


def _run(words: list[str]) -> int:
    """Do what ``words`` say."""
    if not words:
        say("name a verb: utracectl trace, ps, info, maps or call (see utracectl --help)")
        return USAGE
    first = words[0]
    if first in {"-h", "--help", "help"}:
        print(_overview())
        return OK
    if first in {"-V", "--version"}:
        print(f"utracectl {VERSION}")
        return OK
    if first not in VERBS:
        say(_unknown(first))
        return USAGE
    verb = cast(Verb, import_module(f"utracectl.verbs.{first}"))
    parser = Parser(
        prog=f"utracectl {first}",
        description=verb.HELP,
        epilog=f"example: {verb.EXAMPLE}\n\n{HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_arguments(parser)
    try:
        status = verb.run(parser.parse_args(words[1:]))
        sys.stdout.flush()
    except WrongUsage as error:
        parser.error(str(error))
    return status


def _overview() -> str:
    """Return the help of utracectl as a whole."""
    lines = ["usage: utracectl VERB [OPTION]... [ARGUMENT]...", "", "Trace processes and look at them.", ""]
    for name in VERBS:
        verb = cast(Verb, import_module(f"utracectl.verbs.{name}"))
        lines.append(f"  {name:<8}{verb.HELP}")
    lines += ["", "utracectl VERB --help tells more; utracectl --version the version.", "", HELP]
    return "\n".join(lines)


def _unknown(word: str) -> str:
    """Return the message for a word that is no verb."""
    if word.startswith("-"):
        return f"unknown option {word}: name a verb first (see utracectl --help)"
    from difflib import get_close_matches

    nearest = get_close_matches(word, VERBS, n=1)
    if nearest:
        return f"unknown verb {word!r}: did you mean {nearest[0]!r}?"
    return f"unknown verb {word!r}: to trace a command, write utracectl trace -- {word}"
