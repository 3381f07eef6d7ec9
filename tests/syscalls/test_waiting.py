"""Decoding of the calls of ``calls.waiting``: strace's own lines, and arguments that no one would pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.syscalls.observed import any_calls, check, check_reading, observed
from utraced.syscalls.call import Call
from utraced.syscalls.calls.waiting import wait_status_text
from utraced.syscalls.text import call_text

CASES = observed("waiting")


@pytest.mark.parametrize("case", CASES)
def test_is_written_as_by_strace(case: dict[str, Any]) -> None:
    check(case)


@pytest.mark.parametrize("case", CASES)
def test_reads_all_that_it_writes(case: dict[str, Any]) -> None:
    check_reading(case)


@given(any_calls("waiting"))
def test_any_arguments_and_memory_have_a_text(call: Call) -> None:
    assert call_text(call)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0x0300, "{WIFEXITED(s) && WEXITSTATUS(s) == 3}"),
        (0x000F, "{WIFSIGNALED(s) && WTERMSIG(s) == SIGTERM}"),
        (0x008B, "{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}"),
        (0x137F, "{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}"),
        (0x857F, "{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP | 0x80}"),
        (0x6057F, "{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP}|PTRACE_EVENT_EXIT<<16"),
        (0xFFFF, "{WIFCONTINUED(s)}"),
    ],
)
def test_status_is_told_by_the_macros_that_take_it_apart(status: int, text: str) -> None:
    assert wait_status_text(status) == text
