"""What is written after ``= `` when a call returned.  Seen from strace 6.1."""

from __future__ import annotations

import os
from collections.abc import Callable

from .basics import MASK_32, mode_text
from .call import Call
from .signature import RETURNS_INT, Returns
from .tables.errnos import ERRNOS

__all__ = [
    "RETURNS_ADDRESS",
    "RETURNS_FD",
    "RETURNS_HEX",
    "RETURNS_INT",
    "RETURNS_NONE",
    "RETURNS_OCTAL",
    "RETURNS_UNSIGNED",
    "ReturnsWith",
    "errno_name",
    "errno_number",
    "error_text",
    "result_text",
]

_RESTARTS = {
    512: "ERESTARTSYS (To be restarted if SA_RESTART is set)",
    513: "ERESTARTNOINTR (To be restarted)",
    514: "ERESTARTNOHAND (To be restarted if no handler)",
    516: "ERESTART_RESTARTBLOCK (Interrupted by signal)",
}
_ERRORS: dict[int, str] = {}
_NUMBERS = {name: number for number, name in ERRNOS.items()} | {"EWOULDBLOCK": 11, "EDEADLOCK": 35, "ENOTSUP": 95}


class ReturnsHex(Returns):
    """In hexadecimal; zero is ``0``."""

    __slots__ = ()

    def render(self, call: Call) -> str:
        """See ``Returns.render``."""
        value = (call.result or 0) & ((1 << 64) - 1 if call.abi.word == 8 else MASK_32)
        return hex(value) if value else "0"


class ReturnsOctal(Returns):
    """Permission bits, as umask's."""

    __slots__ = ()

    def render(self, call: Call) -> str:
        """See ``Returns.render``."""
        return mode_text(call.result or 0)


class ReturnsUnsigned(Returns):
    """An unsigned number as wide as the caller's registers."""

    __slots__ = ()

    def render(self, call: Call) -> str:
        """See ``Returns.render``."""
        return str((call.result or 0) & ((1 << 64) - 1 if call.abi.word == 8 else MASK_32))


class ReturnsNone(Returns):
    """Of a call that does not return."""

    __slots__ = ()

    def render(self, call: Call) -> str:
        """See ``Returns.render``."""
        return "?"


class ReturnsWith(Returns):
    """A result with a note in parentheses after it, as ``0 (Timeout)`` and ``1 ([{fd=3, revents=POLLIN}])``.

    ``note`` is given a call that did not fail, and answers None where nothing is to be said; it may look at
    ``call.left``.
    """

    __slots__ = ("base", "note")
    reads = True

    def __init__(self, note: Callable[[Call], str | None], base: Returns = RETURNS_INT) -> None:
        self.note = note
        self.base = base

    def render(self, call: Call) -> str:
        """See ``Returns.render``."""
        note = self.note(call)
        return f"{self.base.render(call)} ({note})" if note is not None else self.base.render(call)


RETURNS_HEX = ReturnsHex()
RETURNS_ADDRESS = RETURNS_HEX
RETURNS_OCTAL = ReturnsOctal()
RETURNS_UNSIGNED = ReturnsUnsigned()
RETURNS_FD = RETURNS_INT
RETURNS_NONE = ReturnsNone()


def errno_name(errno: int) -> str:
    """Return the name of a positive error number, ``ERRNO_n`` where it has none."""
    return ERRNOS.get(errno) or f"ERRNO_{errno}"


def errno_number(name: str) -> int | None:
    """Return the number of the error that is called ``name``, None where there is none."""
    return _NUMBERS.get(name)


def error_text(errno: int) -> str:
    """Return the result of a call that failed with the positive ``errno``, the kernel's internal ones included."""
    text = _ERRORS.get(errno)
    if text is None:
        restart = _RESTARTS.get(errno)
        text = f"? {restart}" if restart else f"-1 {errno_name(errno)} ({os.strerror(errno)})"
        _ERRORS[errno] = text
    return text


def result_text(call: Call, returns: Returns) -> str:
    """Return what comes after ``= ``; ``?`` for a call that did not return."""
    if call.errno:
        return error_text(call.errno)
    return "?" if call.result is None else returns.render(call)
