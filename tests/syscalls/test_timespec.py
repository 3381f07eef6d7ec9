"""Times of the three ABIs."""

from __future__ import annotations

import struct

import pytest

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.calls.timespec import TIMEVAL, Itimerspec, Timespec, split_time, time_size


@pytest.mark.parametrize(
    ("abi", "wide", "size"), [("x86_64", False, 16), ("x32", False, 16), ("i386", False, 8), ("i386", True, 16)]
)
def test_only_i386_has_short_times_and_not_in_its_newer_calls(abi: str, wide: bool, size: int) -> None:
    call = Call(ABIS[abi], 0, (0,) * 6)
    assert time_size(call, wide=wide) == size
    assert Timespec(wide=wide).size(call) == size
    assert Itimerspec(wide=wide).size(call) == 2 * size


def test_seconds_are_signed_and_fractions_are_not() -> None:
    assert split_time(struct.pack("<qq", -1, -1)) == (-1, (1 << 64) - 1)
    assert split_time(struct.pack("<ii", -1, -1)) == (-1, (1 << 32) - 1)
    text = TIMEVAL.text(struct.pack("<qq", -1, 5), Call(ABIS["x86_64"], 0, (0,) * 6))
    assert text == "{tv_sec=-1, tv_usec=5}"
