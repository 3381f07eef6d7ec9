"""At which line a TOML document names each key: tomllib tells values alone."""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

Path = tuple[str, ...]

_TOKEN = re.compile(
    r'''(?P<text>"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')'''
    r"|(?P<none>[ \t]+|#[^\n]*)|(?P<newline>\n)|(?P<bare>[A-Za-z0-9_-]+)|(?P<sign>.)",
    re.DOTALL,
)


class _Open(NamedTuple):
    """An array or inline table that is not closed yet; ``prefix``: the path of a table that can be named."""

    is_table: bool
    prefix: Path | None


class _Reader:
    """Where we are in a document; in ``key`` gather the words of a key, None while a value is passed over."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.line = 1
        self._table: Path = ()
        self._key: list[str] | None = []
        self._assigned: Path | None = None
        self._open: list[_Open] = []

    def take(self, kind: str, word: str) -> None:
        """Take the next token."""
        if kind == "newline":
            if not self._open:
                self._key = []
        elif self._key is None:
            self._pass_over(word)
        elif kind in {"text", "bare"}:
            # What quotes and escapes mean tomllib knows.
            self._key.append(word if kind == "bare" else tomllib.loads(f"k = {word}")["k"])
        elif word == "=":
            self._assigned = self._name(self._open[-1].prefix if self._open else self._table)
            self._key = None
        elif word == "]":
            self._table = self._name(()) or ()
        elif word == "}":
            self._close()

    def _name(self, prefix: Path | None) -> Path | None:
        """Note the line of the key that has been read, and of the tables that it is the first to name."""
        if prefix is None or self._key is None:
            return None
        path = (*prefix, *self._key)
        for size in range(len(prefix) + 1, len(path) + 1):
            self.lines.setdefault(path[:size], self.line)
        return path

    def _pass_over(self, word: str) -> None:
        if word == "{":
            self._open.append(_Open(is_table=True, prefix=self._assigned))
            self._key = []
        elif word == "[":
            # The tables in an array have no path.
            self._open.append(_Open(is_table=False, prefix=None))
            self._assigned = None
        elif word in {"]", "}"}:
            self._close()
        elif word == "," and self._open and self._open[-1].is_table:
            self._key = []

    def _close(self) -> None:
        self._open.pop()
        self._key = None


def lines_of_keys(text: str) -> dict[Path, int]:
    """Return the line, from 1, at which each key of a document that tomllib has read is named first.

    A key is the path from the document's root; tables that dotted keys and headers pass through have one too.
    """
    reader = _Reader()
    for token in _TOKEN.finditer(text):
        kind, word = str(token.lastgroup), token.group()
        if kind != "none":
            reader.take(kind, word)
        reader.line += word.count("\n")
    return reader.lines
