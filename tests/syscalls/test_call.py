"""A call before and after its return."""

from __future__ import annotations

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.memory import NOTHING


def test_a_call_that_was_entered_has_no_result_and_no_memory() -> None:
    call = Call(ABIS["i386"], 3, (1, 2, 3, 4, 5, 6))
    assert (call.result, call.errno, call.sp) == (None, 0, 0)
    assert call.entered is NOTHING
    assert call.left is NOTHING
    assert call.limit == 32


def test_a_call_takes_its_result_later() -> None:
    call = Call(ABIS["x86_64"], 0, (0,) * 6, limit=7, sp=0x7FFF0000)
    call.result, call.errno = -2, 2
    assert (call.result, call.errno, call.limit, call.sp) == (-2, 2, 7, 0x7FFF0000)
