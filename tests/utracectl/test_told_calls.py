"""From events to calls: what decoders need of them."""

from __future__ import annotations

import pytest

from tests.utracectl.test_printer import call, entry
from utracectl.told_calls import call_of
from utraced.api.events import Fragment, Text


def test_memory_of_both_moments() -> None:
    event = call(
        10, "getcwd", 0x1000, 4096, result=2,
        memory=[Fragment(address="0x1000", data=b"old"), Fragment(address="0x1000", data=b"/\0", returned=True)],
    )  # fmt: skip
    made = call_of(event, 32)
    assert (made.entered.read(0x1000, 4), made.left.read(0x1000, 4)) == (b"old", b"/\0")


def test_a_string_is_known_at_both_moments() -> None:
    made = call_of(call(10, "write", 1, 0x1000, 9, result=2, strings={"1": Text(text="ab", truncated=True)}), 32)
    assert (made.entered.string(0x1000, 9), made.left.string(0x1000, 9)) == ((b"ab", False), (b"ab", False))


@pytest.mark.parametrize(("event", "result", "errno"), [
    (entry(10, "close", 1), None, 0),
    (call(10, "close", 1, result=None, unfinished=True), None, 0),
    (call(10, "close", 1, result=-9, errno="EBADF"), -9, 9),
])  # fmt: skip
def test_results(event, result, errno) -> None:  # type: ignore[no-untyped-def]
    made = call_of(event, 32)
    assert (made.result, made.errno) == (result, errno)
