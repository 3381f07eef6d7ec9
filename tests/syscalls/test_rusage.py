"""``struct rusage`` as getrusage and wait4 show it."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.calls.rusage import Rusage
from utraced.syscalls.memory import Fragment, Snapshot

USED = struct.pack("<4q", 1, 20, 3, 4000) + bytes(14 * 8)


def call(result: int, errno: int = 0, data: bytes = USED) -> Call:
    return Call(ABIS["x86_64"], 0, (0,) * 6, left=Snapshot([Fragment(0x100, data)]), result=result, errno=errno)


def test_the_two_times_are_shown() -> None:
    shown = "{ru_utime={tv_sec=1, tv_usec=20}, ru_stime={tv_sec=3, tv_usec=4000}, ...}"
    assert Rusage().render(0x100, call(0)) == shown


def test_wait4_that_found_nobody_fills_in_nothing() -> None:
    assert Rusage(needs_result=True).render(0x100, call(0)) == "0x100"
    assert Rusage(needs_result=True).render(0x100, call(42)).startswith("{ru_utime=")


def test_a_failed_call_and_no_structure_are_shown_as_addresses() -> None:
    assert Rusage().render(0x100, call(-14, 14)) == "0x100"
    assert Rusage().render(0, call(0)) == "NULL"


@given(st.binary(max_size=200), st.sampled_from(["x86_64", "i386", "x32"]))
def test_any_memory_is_shown(data: bytes, abi: str) -> None:
    made = Call(ABIS[abi], 0, (0,) * 6, left=Snapshot([Fragment(0x100, data)]), result=1)
    assert Rusage().render(0x100, made)
