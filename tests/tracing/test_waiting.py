"""Requests that wait for threads."""

from __future__ import annotations

from utraced.tracing.waiting import Doubt, Waiter


def test_a_wait_is_over_with_the_last_thread() -> None:
    waiter = Waiter([5, 6])
    assert not waiter.settle(5)
    assert waiter.settle(6)


def test_a_thread_settles_once_and_others_do_not_count() -> None:
    waiter = Waiter([5])
    assert not waiter.settle(7)
    assert waiter.settle(5)
    assert not waiter.settle(5)


def test_a_doubt_is_over_with_the_last_suspect() -> None:
    doubt = Doubt(9, [5])
    assert doubt.orphan == 9
    assert doubt.settle(5)
