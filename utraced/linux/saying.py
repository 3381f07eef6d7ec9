"""Words for the log of a process that must not wait for it, nor pay for more: ``logging`` takes a megabyte."""

from __future__ import annotations

import os
import select
from contextlib import suppress

STDERR = 2
LONGEST = 2000
"""Bytes of a line: where poll(2) says that a pipe takes something, it takes PIPE_BUF, 4,096 bytes, without waiting."""


class Log:
    """Writes lines to stderr; what that does not take at once is lost, and the next line says how many were."""

    def __init__(self) -> None:
        self._lost = 0
        self._poll = select.poll()
        self._poll.register(STDERR, select.POLLOUT)

    def info(self, text: str, *values: object) -> None:
        """Say how it goes; ``values`` go into ``text`` as in logging."""
        self._say(text, values)

    error = info

    def _say(self, text: str, values: tuple[object, ...]) -> None:
        line = (text % values if values else text).encode("utf-8", "backslashreplace")[:LONGEST]
        missing = f"utraced: {self._lost} lines are missing here\n".encode() if self._lost else b""
        self._lost += 1
        if any(events & select.POLLOUT for _, events in self._poll.poll(0)):
            with suppress(OSError):
                os.write(STDERR, missing + b"utraced: " + line.replace(b"\n", b" ") + b"\n")
                self._lost = 0


log = Log()
