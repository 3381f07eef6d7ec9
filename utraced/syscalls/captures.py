"""What must be copied of a caller's memory, at a call's entry and at its return, so that it can be decoded later.

The table is written by ``tools/generate_captures.py``, which asks the decoders themselves.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .abi import Abi

RESULT = 6
"""As ``Capture.counter``: the call's result."""
STACK = 7
"""As ``Capture.argument``: the stack pointer."""
CONSTANT = 7
BITS = 0
"""As ``Capture.unit``: one bit each, in whole longs, as of an ``fd_set``."""
LARGEST = 32_768
"""Bytes of one capture, as many as the C library asks directories for; strings are cut at the trace's limit anyway."""
_PATH = 4095
MOST = 6
"""Captures of a call at its entry, and as many at its return."""

What = Literal["string", "bytes", "strings", "pointers", "buffers", "message", "messages", "indirect"]


class Capture(NamedTuple):
    """A piece of memory.

    ``what``: a C string, bytes, an array of pointers to C strings with or without (``pointers``) those, ``struct
    iovec`` with their buffers, a ``struct msghdr`` with all that it leads to, an array of ``struct mmsghdr``
    (``messages``), or ``most`` bytes behind a pointer of
    ``unit`` bytes that stands at ``offset`` (``indirect``).  ``argument``: which one points to it,
    or the stack pointer, ``offset`` bytes before it.
    Of bytes, ``unit`` times what the argument ``counter`` (or the result) says, at most ``most``; ``limited``: or
    ``unit`` times the limit on strings.  ``failing``: also when the call fails.
    """

    what: What
    argument: int
    offset: int = 0
    unit: int = 1
    counter: int = CONSTANT
    most: int = LARGEST
    limited: bool = False
    failing: bool = False


class Captures(NamedTuple):
    """What to copy of a call: when it is ``entered``, and when it is ``left``."""

    entered: tuple[Capture, ...] = ()
    left: tuple[Capture, ...] = ()


NOTHING = Captures()


def paths_of(captures: Captures) -> tuple[int, ...]:
    """Return which arguments are paths: strings as long as the kernel takes them (PATH_MAX in linux/limits.h)."""
    return tuple(
        one.argument for one in captures.entered if one.what == "string" and not one.limited and one.most == _PATH
    )


def captures_of(abi: Abi, nr: int) -> Captures:
    """Return what to copy of call ``nr``; where a command decides what its arguments are, what any form needs."""
    from .tables.captures import CAPTURES

    kept = CAPTURES["i386" if abi.name == "i386" else "x86_64"].get(abi.name_of(nr))
    if kept is None:
        return NOTHING
    entered, left = kept
    return Captures(tuple(Capture(*one) for one in entered), tuple(Capture(*one) for one in left))
