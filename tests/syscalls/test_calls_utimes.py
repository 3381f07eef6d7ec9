"""Times of files."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, PATH, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import utimes
from utraced.syscalls.text import call_text

NAMES = [*utimes.SIGNATURES, *getattr(utimes, "I386_SIGNATURES", {})]

FDCWD = -100


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


CASES = [
    Case(
        'utime("/tmp/a", {actime=1700000000 /* 2023-11-14T22:13:20+0000 */, modtime=-1 /* 1969-12-31T23:59:59+0000 */})'
        " = 0",
        (PATH, AT),
        {AT: struct.pack("<qq", 1700000000, -1)},
    ),
    Case('utime("/tmp/a", NULL)                   = 0', (PATH, 0)),
    Case('utime("/tmp/a", 0x10)                   = -1 EFAULT (Bad address)', (PATH, BAD), outcome="EFAULT"),
    Case(
        'utimes("/tmp/a", [{tv_sec=1700000000, tv_usec=123456} /* 2023-11-14T22:13:20.123456+0000 */, '
        "{tv_sec=5, tv_usec=1000000}]) = 0",
        (PATH, AT),
        {AT: struct.pack("<qqqq", 1700000000, 123456, 5, 1000000)},
    ),
    Case(
        "utimensat(3, NULL, [{tv_sec=0, tv_nsec=0}, {tv_sec=9, tv_nsec=999999999} "
        "/* 1970-01-01T00:00:09.999999999+0000 */], 0) = 0",
        (3, 0, AT, 0),
        {AT: struct.pack("<qqqq", 0, 0, 9, 999999999)},
    ),
    Case(
        'utimensat(AT_FDCWD, "/tmp/a", [UTIME_NOW, UTIME_OMIT], AT_SYMLINK_NOFOLLOW) = 0',
        (FDCWD, PATH, AT, 0x100),
        {AT: struct.pack("<qqqq", 0, utimes.UTIME_NOW, 0, utimes.UTIME_OMIT)},
    ),
    Case(
        'utimensat(AT_FDCWD, "/tmp/a", [{tv_sec=5, tv_nsec=6} /* 1970-01-01T00:00:05.000000006+0000 */, '
        "{tv_sec=7, tv_nsec=0} /* 1970-01-01T00:00:07+0000 */], 0) = 0",
        (FDCWD, PATH, AT, 0),
        {AT: struct.pack("<iiii", 5, 6, 7, 0)},
        abi="i386",
    ),
]


def test_a_time_beyond_all_years_has_no_comment() -> None:
    assert utimes.date_comment(1 << 62) == ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
