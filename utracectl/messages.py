"""Everything that utracectl says on stderr, one line a message, and text of others made safe to show.

There is no colour in any of it, so that NO_COLOR (no-color.org) has nothing to ask for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from utracectl.exit_codes import FAILED, USAGE

if TYPE_CHECKING:
    from utraced.errors import UtracedError

STDERR = 2
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Failure(Exception):
    """utracectl cannot go on: the message says why and what to do, ``status`` is the exit status."""

    status = FAILED


class WrongUsage(Failure):
    """The arguments do not go together."""

    status = USAGE


def terminal_text(text: str) -> str:
    """Return ``text`` of a target or server with nothing in it that a terminal would obey.

    Control characters (C0, DEL, C1) and bytes that were not UTF-8 become ``\\xNN``; bidirectional and other format
    characters, line separators and other lone surrogates become ``\\uNNNN`` (Unicode's categories Cc, Cf, Cs, Zl, Zp).
    """
    if text.isascii() and text.isprintable():
        return text
    # Asked for rarely, and not cheap to load.
    from unicodedata import category

    return "".join([_escape(char) if category(char) in _UNSAFE_CATEGORIES else char for char in text])


def message_line(text: str) -> str:
    """Return the line that says ``text``, with our name before it."""
    return f"utracectl: {terminal_text(text)}\n"


def say(text: str) -> None:
    """Write one message to stderr; a stderr that is closed or full is nobody's error."""
    data = message_line(text).encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(STDERR, data) :]
    except OSError:
        return


def error_text(error: UtracedError) -> str:
    """Return a daemon's error as one line: what happened, by whom where a tracer is in the way, and what to do."""
    text = error.message
    tracer = error.data.get("tracer")
    if isinstance(tracer, dict) and str(tracer.get("pid")) not in text:
        text += f" (traced by {tracer.get('comm', 'process')} {tracer.get('pid')})"
    return f"{text}: {error.hint}" if error.hint else text


def _escape(char: str) -> str:
    """Return one character as an escape, as short as it can be."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        # How Python holds a byte that is not UTF-8 (PEP 383).
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
