"""Descriptors that tell events."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, MINUS_1, PATH, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import events
from utraced.syscalls.text import call_text

NAMES = [*events.SIGNATURES, *getattr(events, "I386_SIGNATURES", {})]

TIMER = struct.pack("<qqqq", 1, 5, 1000, 7)
TIMER_TEXT = "{it_interval={tv_sec=1, tv_nsec=5}, it_value={tv_sec=1000, tv_nsec=7}}"
CASES = [
    Case("inotify_init1(IN_NONBLOCK|IN_CLOEXEC)   = 7", (0o2004000,), outcome=7),
    Case('inotify_add_watch(7, "/tmp/a", IN_CREATE|IN_DELETE|IN_ONLYDIR) = 1', (7, PATH, 0x1000300), outcome=1),
    Case("inotify_rm_watch(7, 1)                  = 0", (7, 1)),
    Case("fanotify_init(FAN_CLASS_CONTENT|FAN_CLOEXEC, O_RDWR|O_CLOEXEC) = 11", (5, 0o2000002), outcome=11),
    Case("fanotify_init(0xc /* FAN_CLASS_??? */, O_RDONLY) = -1 EINVAL (Invalid argument)", (12, 0), outcome="EINVAL"),
    Case('memfd_create("/tmp/a", MFD_CLOEXEC|MFD_ALLOW_SEALING) = 13', (PATH, 3), outcome=13),
    Case('memfd_create("/tmp/a", MFD_HUGETLB|21<<MFD_HUGE_SHIFT) = 14', (PATH, 4 | 21 << 26), outcome=14),
    Case('memfd_create("/tmp/a", 1<<MFD_HUGE_SHIFT) = 14', (PATH, 1 << 26), outcome=14),
    Case("memfd_create(NULL, 0x10 /* MFD_??? */)  = -1 EFAULT (Bad address)", (0, 16), outcome="EFAULT"),
    Case("eventfd2(5, EFD_SEMAPHORE|EFD_CLOEXEC|EFD_NONBLOCK) = 20", (5, 0o2004001), outcome=20),
    Case(
        "signalfd4(-1, [INT CHLD RT_2], 8, SFD_CLOEXEC|SFD_NONBLOCK) = 22",
        (-1, AT, 8, 0o2004000),
        {AT: struct.pack("<Q", 1 << 1 | 1 << 16 | 1 << 33)},
        outcome=22,
    ),
    Case(
        "signalfd4(-1, ~[RTMIN RT_1], 8, 0)      = 24",
        (-1, AT, 8, 0),
        {AT: struct.pack("<Q", MINUS_1 ^ (3 << 31))},
        outcome=24,
    ),
    Case("signalfd4(-1, 0x10000, 4, 0)            = -1 EINVAL (Invalid argument)", (-1, AT, 4, 0), outcome="EINVAL"),
    Case("timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC|TFD_NONBLOCK) = 25", (1, 0o2004000), outcome=25),
    Case("timerfd_create(0xfffffffb /* CLOCK_??? */, 0) = -1 EINVAL (Invalid argument)", (-5, 0), outcome="EINVAL"),
    Case(f"timerfd_settime(25, TFD_TIMER_ABSTIME, {TIMER_TEXT}, NULL) = 0", (25, 1, AT, 0), {AT: TIMER}),
    Case(f"timerfd_gettime(25, {TIMER_TEXT}) = 0", (25, AT), {}, {AT: TIMER}),
    Case("timerfd_gettime(25, 0x10)               = -1 EFAULT (Bad address)", (25, BAD), outcome="EFAULT"),
    Case(f"timerfd_gettime(25, {TIMER_TEXT}) = 0", (25, AT), {}, {AT: struct.pack("<iiii", 1, 5, 1000, 7)}, abi="i386"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
