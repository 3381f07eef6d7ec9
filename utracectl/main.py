"""The command line: finds the verb, and ends with the right status.

Nothing heavy is loaded before the verb runs: each verb's module declares its arguments without what carries them out.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn, Protocol, cast

from utracectl import VERSION
from utracectl.exit_codes import ERROR, FAILED, HELP, OK, USAGE
from utracectl.hosts import host_argument
from utracectl.messages import Failure, WrongUsage, error_text, say

GROUPS = {
    "Trace": ("trace", "events"),
    "Look": ("ps", "info", "maps", "regs", "mem"),
    "Change": ("hold", "step", "kill"),
    "The daemon": ("doctor", "status", "call", "stdio"),
}
"""The verbs as --help has them."""
VERBS = tuple(verb for verbs in GROUPS.values() for verb in verbs)
"""One module of ``verbs`` each."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""What writing to stdout fails of when nobody is to blame for it."""


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
        status = _run(words)
        # Here, where it can still be told that it could not be written.
        if sys.stdout is not None:
            sys.stdout.flush()
    except Failure as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our stdout has seen enough; what is buffered must not be tried again at exit.
        _discard_stdout()
        return ERROR
    except OSError as error:
        if error.errno not in _FULL:
            traceback.print_exc()
            return FAILED
        say(f"cannot write to stdout ({error.strerror})")
        _discard_stdout()
        return FAILED
    except Exception as error:
        # Light, but of no use to --help and --version.
        from utraced.errors import UtracedError

        if not isinstance(error, UtracedError):
            traceback.print_exc()
            return FAILED
        say(error_text(error))
        return ERROR
    return status


def _run(words: list[str]) -> int:
    """Do what ``words`` say."""
    host, words = _take_host(words)
    if not words:
        say("name a verb, as in utracectl trace -- ls (see utracectl --help)")
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
    parser.add_argument("-H", "--host", type=host_argument, metavar="HOST", help="on HOST, by ssh HOST utracectl stdio")
    verb.add_arguments(parser)
    try:
        return verb.run(parser.parse_args([*host, *words[1:]]))
    except WrongUsage as error:
        say(f"{error} (see {parser.prog} --help)")
        return USAGE
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILED


def _take_host(words: list[str]) -> tuple[list[str], list[str]]:
    """Return a ``-H HOST`` that stands before the verb as an option of the verb, and the other words."""
    first = words[0] if words else ""
    if first.startswith("--host="):
        return [first], words[1:]
    if first in {"-H", "--host"}:
        if len(words) == 1:
            raise WrongUsage(f"{first}: name a host, as for ssh (see utracectl --help)")
        return [f"--host={words[1]}"], words[2:]
    if first.startswith("-H"):
        return [f"--host={first[2:]}"], words[1:]
    return [], words


def _discard_stdout() -> None:
    """Have what is still buffered for stdout go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _overview() -> str:
    """Return the help of utracectl as a whole."""
    lines = ["usage: utracectl [-H HOST] VERB [OPTION]... [ARGUMENT]...", "", "Trace processes and look at them."]
    for title, verbs in GROUPS.items():
        lines += ["", f"{title}:"]
        for name in verbs:
            verb = cast(Verb, import_module(f"utracectl.verbs.{name}"))
            lines.append(f"  {name:<8}{verb.HELP}")
    lines += [
        "",
        "-H HOST (also after the verb): the processes of HOST, by ssh HOST utracectl stdio.",
        "utracectl VERB --help tells more; utracectl --version the version.",
        "",
        HELP,
    ]
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
