from __future__ import annotations

import os
from typing import Any

import pytest

from utracectl.messages import WrongUsage
from utracectl.tracing import parse_calls, parse_pids
from utraced.api.engine import CallFilter


@pytest.mark.parametrize(
    ("values", "pids"),
    [([], []), (["1"], [1]), (["1", "2"], [1, 2]), (["1,2 3"], [1, 2, 3]), (["4194304", "4194304"], [4194304])],
)
def test_pids(values: list[str], pids: list[int]) -> None:
    assert parse_pids(values) == pids


@pytest.mark.parametrize("value", ["0", "-1", "x", "4194305", "9" * 5000, "\u0661", "", ",", str(os.getpid())])
def test_what_is_no_pid(value: str) -> None:
    with pytest.raises(WrongUsage, match="-p"):
        parse_pids([value], own=os.getpid())


def test_our_pid_may_be_another_s_on_another_host() -> None:
    assert parse_pids([str(os.getpid())]) == [os.getpid()]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("trace=open,close", ("open", "close")),
        ("t=open", ("open",)),
        ("open", ("open",)),
        ("trace=%file", ("%file",)),
        ("file,5", ("%file", 5)),
        ("trace=all", "all"),
        ("trace=none", ()),
        ("trace=!none", "all"),
        ("trace=!all", ()),
        ("trace=!open", CallFilter(set="all", remove=("open",))),
        ("!%file,?nonsense", CallFilter(set="all", remove=("%file",))),
        ("/^getpp", ("getppid",)),
    ],
)
def test_calls(text: str, calls: Any) -> None:
    assert parse_calls(text) == calls


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trace=opne", "did you mean 'open'"),
        ("signal=SIGINT", "-e signal=… is not supported"),
        ("colour=red", "write -e trace=SET"),
        ("trace=", "no such system call"),
        ("/(", "not a regular expression"),
    ],
)
def test_what_selects_nothing(text: str, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        parse_calls(text)
