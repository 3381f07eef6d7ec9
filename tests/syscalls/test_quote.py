"""Bytes in quotes: pairs seen from strace 6.1 writing them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.quote import escape_bytes, quote_bytes, quote_hex

CASES = [
    (b"", ""),
    (b"plain ~!#[]^", "plain ~!#[]^"),
    (b"a\x010b\x018c\x01x", r"a\0010b\18c\1x"),
    (b"\x01", r"\1"),
    (b"\x018", r"\18"),
    (b"\x017", r"\0017"),
    (b"\x7f\x80\xff", r"\177\200\377"),
    (b'"\\', r"\"\\"),
    (b"\t\n\v\f\r\x1b'\a\b", r"\t\n\v\f\r\33'\7\10"),
    (b"\0" * 3, r"\0\0\0"),
]


@pytest.mark.parametrize(("data", "text"), CASES)
def test_escapes(data: bytes, text: str) -> None:
    assert escape_bytes(data) == text


def test_truncation_is_told_after_the_quotes() -> None:
    assert quote_bytes(b"abc") == '"abc"'
    assert quote_bytes(b"abc", truncated=True) == '"abc"...'
    assert quote_hex(b"\xd4\x07") == r'"\xd4\x07"'
    assert quote_hex(b"\xd4", truncated=True) == r'"\xd4"...'


LETTERS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}


@given(st.binary(max_size=64))
def test_what_is_quoted_can_be_read_back(data: bytes) -> None:
    parts = re.findall(r"\\([0-7]{1,3}|.)|(.)", escape_bytes(data), re.DOTALL)
    read = [ord(plain) if plain else LETTERS[code] if code in LETTERS else int(code, 8) for code, plain in parts]
    assert bytes(read) == data
