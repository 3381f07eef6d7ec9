"""Writing results to stdout."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

import msgspec

from utraced.model import encode_hook


def print_line(text: str) -> None:
    """Print one line; what stdout's encoding cannot say is escaped, what is wider than our terminal is cut."""
    encoding = sys.stdout.encoding or "utf-8"
    if sys.stdout.isatty():
        text = text[: shutil.get_terminal_size().columns]
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value of the protocol as JSON; all but ASCII is escaped, which no terminal obeys."""
    plain = msgspec.to_builtins(value, enc_hook=encode_hook)
    text = json.dumps(plain, indent=indent, ensure_ascii=True)
    # DEL is the one ASCII control character that JSON lets stand.
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")
