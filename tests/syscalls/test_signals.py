"""Signals' names, both ways."""

from __future__ import annotations

import pytest

from utraced.syscalls.signals import signal_name, signal_number


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "SIGHUP"), (6, "SIGABRT"), (29, "SIGIO"), (31, "SIGSYS"), (32, "SIGRTMIN"), (34, "SIGRT_2"), (64, "SIGRT_32")],
)
def test_names(number: int, name: str) -> None:
    assert signal_name(number) == name
    assert signal_number(name) == number


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (-1, "-1"), (65, "65")])
def test_what_is_no_signal_stays_a_number(number: int, text: str) -> None:
    assert signal_name(number) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGUSR1", 10), ("USR1", 10), ("usr1", 10), ("10", 10), ("SIGPOLL", 29), ("RTMIN", 32), ("RT_2", 34)],
)
def test_spellings(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "SIG", "SIGFOO", "0", "65", "-1", "1 ", "\u0661"])
def test_what_is_no_signal_has_no_number(text: str) -> None:
    assert signal_number(text) is None
