"""Sets of signals."""

from __future__ import annotations

import pytest

from utraced.syscalls.calls.sigset import sigset_text

ALL = (1 << 64) - 1


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (0, "[]"),
        (1 << 1 | 1 << 16, "[INT CHLD]"),
        (1 << 31 | 1 << 32 | 1 << 63, "[RTMIN RT_1 RT_32]"),
        (ALL, "~[]"),
        (ALL ^ (1 << 31 | 1 << 32), "~[RTMIN RT_1]"),
    ],
)
def test_most_signals_are_written_as_those_that_are_not_in_the_set(mask: int, text: str) -> None:
    assert sigset_text(mask) == text


def test_from_42_signals_on_a_set_is_most() -> None:
    assert sigset_text((1 << 41) - 1).startswith("[HUP")
    assert sigset_text((1 << 42) - 1).startswith("~[")
