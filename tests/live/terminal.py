"""A terminal with a program in it, to type at and to read."""

from __future__ import annotations

import os
import pty
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from time import monotonic

from tests.live.machine import PATIENCE

INTERRUPT, SUSPEND, END = "\x03", "\x1a", "\x04"
"""What Ctrl-C, Ctrl-Z and Ctrl-D send."""


class Terminal:
    """The outer side of a terminal; ``text`` is all that was shown so far."""

    def __init__(self, fd: int, process: Popen[bytes]) -> None:
        self.process = process
        self.text = ""
        self._fd = fd
        self._from = 0

    def type(self, text: str) -> None:
        """Type at the keyboard."""
        os.write(self._fd, text.encode())

    def expect(self, wanted: str) -> str:
        """Wait until ``wanted`` is shown; return what was shown before it, since the last expectation."""
        deadline = monotonic() + PATIENCE
        while (found := self.text.find(wanted, self._from)) < 0:
            ready, _, _ = select.select([self._fd], [], [], deadline - monotonic() if monotonic() < deadline else 0)
            assert ready, f"{wanted!r} was never shown after {self.text[self._from :]!r}"
            try:
                data = os.read(self._fd, 4096)
            except OSError:  # EIO: nobody has the terminal open any more
                data = b""
            assert data, f"ended without {wanted!r} after {self.text[self._from :]!r}"
            self.text += data.decode(errors="replace")
        before = self.text[self._from : found]
        self._from = found + len(wanted)
        return before


@contextmanager
def terminal(command: Sequence[str | Path], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Give a terminal in which ``command`` leads the session; who is left in it is hung up at the end."""
    outer, inner = pty.openpty()
    words = ["setsid", "--ctty", "--wait", *map(str, command)]
    process = Popen(words, stdin=inner, stdout=inner, stderr=inner, env=dict(environment))
    os.close(inner)
    try:
        yield Terminal(outer, process)
    finally:
        os.close(outer)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
