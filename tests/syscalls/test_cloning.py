"""Decoding of the calls of ``calls.cloning``: strace's own lines, and arguments that no one would pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.syscalls.observed import any_calls, check, check_reading, observed, whole
from utraced.syscalls.call import Call
from utraced.syscalls.text import call_text, resumed_text, unfinished_text

CASES = observed("cloning")


@pytest.mark.parametrize("case", CASES)
def test_is_written_as_by_strace(case: dict[str, Any]) -> None:
    check(case)


@pytest.mark.parametrize("case", CASES)
def test_reads_all_that_it_writes(case: dict[str, Any]) -> None:
    check_reading(case)


@given(any_calls("cloning"))
def test_any_arguments_and_memory_have_a_text(call: Call) -> None:
    assert call_text(call)


def test_numbers_that_clone3_gives_are_told_when_it_resumes() -> None:
    case = next(case.values[0] for case in CASES if "=> {pidfd=" in case.values[0]["line"])
    call = whole(case)
    shown, _, given = case["line"].partition(" => ")
    assert unfinished_text(call) == f"{shown} <unfinished ...>"
    assert resumed_text(call) == f"<... clone3 resumed> => {given}"


def test_addresses_that_clone_takes_are_told_when_it_resumes() -> None:
    case = next(case.values[0] for case in CASES if "SIGCHLD, child_tidptr=" in case.values[0]["line"])
    call = whole(case)
    shown = case["line"].partition(", child_tidptr")[0]
    assert unfinished_text(call) == f"{shown} <unfinished ...>"
    assert resumed_text(call).startswith("<... clone resumed>, child_tidptr=0x")
