"""Arrays of buffers."""

from __future__ import annotations

import struct

import pytest

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.calls.iovec import iovec_text
from utraced.syscalls.memory import Fragment, Snapshot

AT = 0x1000
DATA = 0x2000
MEMORY = Snapshot([Fragment(AT, struct.pack("<QQQQ", DATA, 3, DATA + 3, 3)), Fragment(DATA, b"abcdef")])


@pytest.mark.parametrize(
    ("total", "texts"),
    [
        (None, ('"abc"', '"def"')),
        (-1, ("0x2000", "0x2003")),
        (0, ('""', '""')),
        (4, ('"abc"', '"d"')),
        (99, ('"abc"', '"def"')),
    ],
)
def test_the_total_is_shared_out_in_order(total: int | None, texts: tuple[str, str]) -> None:
    call = Call(ABIS["x86_64"], 0, (0,) * 6, entered=MEMORY)
    first, second = texts
    expected = f"[{{iov_base={first}, iov_len=3}}, {{iov_base={second}, iov_len=3}}]"
    assert iovec_text(AT, 2, call, total=total) == expected


@pytest.mark.parametrize(
    ("address", "count", "text"),
    [(0, 2, "NULL"), (AT, 0, "[]"), (0x10, 2, "0x10"), ((1 << 64) - 16, 2, hex((1 << 64) - 16))],
)
def test_what_cannot_be_an_array_is_an_address(address: int, count: int, text: str) -> None:
    assert iovec_text(address, count, Call(ABIS["x86_64"], 0, (0,) * 6, entered=MEMORY)) == text


def test_no_more_vectors_than_the_limit_are_shown() -> None:
    call = Call(ABIS["x86_64"], 0, (0,) * 6, entered=MEMORY, limit=1)
    assert iovec_text(AT, 2, call, total=-1) == "[{iov_base=0x2000, iov_len=3}, ...]"
