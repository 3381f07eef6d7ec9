"""Bytes as strace quotes them: C escapes, octal for what does not print.  Seen from strace 6.1."""

from __future__ import annotations

import re

_LETTERS = {0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_ESCAPES = {byte: _LETTERS.get(byte, f"\\{byte:o}") for byte in range(256)}
_TO_ESCAPE = re.compile(rb"[^ !#-\[\]-~]")
_DIGITS = b"01234567"


def escape_bytes(data: bytes) -> str:
    """Return ``data`` with strace's escapes and without quotes around it.

    An octal escape is as short as it can be: it takes three digits only before an octal digit.
    """
    if _TO_ESCAPE.search(data) is None:
        return data.decode("ascii")
    parts = []
    last = len(data) - 1
    for index, byte in enumerate(data):
        if 0x20 <= byte < 0x7F and byte not in _LETTERS:
            parts.append(chr(byte))
        elif byte in _LETTERS:
            parts.append(_LETTERS[byte])
        elif index < last and data[index + 1] in _DIGITS:
            parts.append(f"\\{byte:03o}")
        else:
            parts.append(_ESCAPES[byte])
    return "".join(parts)


def quote_bytes(data: bytes, *, truncated: bool = False) -> str:
    """Return ``data`` in double quotes, with ``...`` after them where more followed in the target."""
    return f'"{escape_bytes(data)}"...' if truncated else f'"{escape_bytes(data)}"'


def quote_hex(data: bytes, *, truncated: bool = False) -> str:
    """Return ``data`` in double quotes with every byte as ``\\xd4``, as strace shows random bytes."""
    text = "".join([f"\\x{byte:02x}" for byte in data])
    return f'"{text}"...' if truncated else f'"{text}"'
