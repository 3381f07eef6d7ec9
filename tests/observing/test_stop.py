"""A syscall-stop is a plain value."""

from __future__ import annotations

from utraced.observing.stop import SyscallStop


def test_an_exit_is_told_by_its_result_alone() -> None:
    stop = SyscallStop(5, 1, 2, False, 0, 0, result=-2, failed=True)
    assert (stop.nr, stop.args) == (-1, ())
    assert stop == SyscallStop(5, 1, 2, False, 0, 0, -1, (), -2, True)
