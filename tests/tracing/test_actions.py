"""Wishes and actions are plain values."""

from __future__ import annotations

from utraced.tracing.actions import Restart, Wish


def test_of_several_wishes_the_smallest_prevails() -> None:
    assert sorted([Wish.RUN, Wish.SYSCALL, Wish.STEP, Wish.BLOCK_STEP]) == [
        Wish.STEP,
        Wish.BLOCK_STEP,
        Wish.SYSCALL,
        Wish.RUN,
    ]


def test_an_action_is_a_value() -> None:
    assert Restart(5, Wish.RUN) == Restart(5, Wish.RUN, 0)
    assert Restart(5, Wish.RUN, 15) != Restart(5, Wish.RUN)
