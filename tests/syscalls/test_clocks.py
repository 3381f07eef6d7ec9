"""Decoding of the calls of ``calls.clocks``: strace's own lines, and arguments that no one would pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from tests.syscalls.observed import any_calls, check, check_reading, observed
from utraced.syscalls.call import Call
from utraced.syscalls.text import call_text

CASES = observed("clocks")


@pytest.fixture(autouse=True, scope="module")
def utc() -> Iterator[None]:
    """Write dates in UTC, as they were observed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("case", CASES)
def test_is_written_as_by_strace(case: dict[str, Any]) -> None:
    check(case)


@pytest.mark.parametrize("case", CASES)
def test_reads_all_that_it_writes(case: dict[str, Any]) -> None:
    check_reading(case)


@given(any_calls("clocks"))
def test_any_arguments_and_memory_have_a_text(call: Call) -> None:
    assert call_text(call)
