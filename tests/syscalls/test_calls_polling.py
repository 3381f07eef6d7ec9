"""poll, select and epoll."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, THERE, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import polling
from utraced.syscalls.text import call_text

NAMES = [*polling.SIGNATURES, *getattr(polling, "I386_SIGNATURES", {})]


def fds(*entries: tuple[int, int, int]) -> bytes:
    """Return an array of struct pollfd."""
    return b"".join(struct.pack("<ihH", *entry) for entry in entries)


def fd_set(*members: int) -> bytes:
    """Return the first two words of an fd_set."""
    return sum(1 << fd for fd in members).to_bytes(16, "little")


EVENT = struct.pack("<IQ", 1, 5)
EVENT_TEXT = "{events=EPOLLIN, data={u32=5, u64=5}}"
ASKED = fds((4, 1, 0), (6, 0x2003, 0), (-1, 1, 0))
FOUND = fds((4, 1, 0), (6, 0x2003, 1), (-1, 1, 0))
ASKED_TEXT = "[{fd=4, events=POLLIN}, {fd=6, events=POLLIN|POLLPRI|POLLRDHUP}, {fd=-1}]"
CASES = [
    Case(f"poll({ASKED_TEXT}, 3, 5) = 1 ([{{fd=6, revents=POLLIN}}])", (AT, 3, 5), {AT: ASKED}, {AT: FOUND}, 1),
    Case("poll([{fd=4, events=POLLIN}], 1, 0)     = 0 (Timeout)", (AT, 1, 0), {AT: ASKED}),
    Case("poll(NULL, 0, 0)                        = 0 (Timeout)", (0, 0, 0)),
    Case("poll([], 0, -1)                         = 0 (Timeout)", (AT, 0, -1)),
    Case("poll(0x10, 1, 0)                        = -1 EFAULT (Bad address)", (BAD, 1, 0), outcome="EFAULT"),
    Case(
        "poll([{fd=4, events=POLLIN}, ... /* 0x10008 */], 2, 0) = 2 ([{fd=4, revents=POLLHUP}, 0x10008])",
        (AT, 2, 0),
        {AT: ASKED[:8]},
        {AT: fds((4, 1, 16))},
        2,
    ),
    Case(
        "poll([" + "{fd=6, events=POLLIN}, " * 32 + "...], 33, 0) = 33 ([" + "{fd=6, revents=POLLIN}, " * 32 + "...])",
        (AT, 33, 0),
        {AT: fds((6, 1, 1)) * 33},
        outcome=33,
    ),
    Case(
        f"ppoll({ASKED_TEXT}, 3, {{tv_sec=5, tv_nsec=0}}, [INT], 8) = 1 ([{{fd=6, revents=POLLIN}}], "
        "left {tv_sec=4, tv_nsec=9})",
        (AT, 3, THERE, THERE + 16, 8),
        {AT: ASKED, THERE: struct.pack("<qqQ", 5, 0, 2)},
        {AT: FOUND, THERE: struct.pack("<qqQ", 4, 9, 2)},
        1,
    ),
    Case(
        "select(20, [4 6], [5], NULL, {tv_sec=1, tv_usec=500}) = 2 (in [6], out [5], left {tv_sec=1, tv_usec=498})",
        (20, AT, AT + 16, 0, THERE),
        {AT: fd_set(4, 6) + fd_set(5, 70), THERE: struct.pack("<qq", 1, 500)},
        {AT: fd_set(6) + fd_set(5), THERE: struct.pack("<qq", 1, 498)},
        2,
    ),
    Case("select(20, [4], NULL, NULL, NULL)       = 0 (Timeout)", (20, AT, 0, 0, 0), {AT: fd_set(4)}),
    Case("select(0, 0x10000, NULL, NULL, NULL)    = 0 (Timeout)", (0, AT, 0, 0, 0), {AT: fd_set(4)}),
    Case(
        "pselect6(0, NULL, NULL, NULL, {tv_sec=0, tv_nsec=500}, {sigmask=[INT], sigsetsize=8}) = 0 (Timeout)",
        (0, 0, 0, 0, THERE, THERE + 16),
        {THERE: struct.pack("<qqQQ", 0, 500, AT, 8), AT: struct.pack("<Q", 2)},
    ),
    Case(
        "_newselect(20, [4], NULL, NULL, {tv_sec=1, tv_usec=5}) = 1 (in [4], left {tv_sec=1, tv_usec=5})",
        (20, AT, 0, 0, THERE),
        {AT: fd_set(4), THERE: struct.pack("<ii", 1, 5)},
        outcome=1,
        abi="i386",
    ),
    Case("epoll_create1(EPOLL_CLOEXEC)            = 9", (0o2000000,), outcome=9),
    Case(f"epoll_ctl(9, EPOLL_CTL_ADD, 6, {EVENT_TEXT}) = 0", (9, 1, 6, AT), {AT: EVENT}),
    Case("epoll_ctl(9, EPOLL_CTL_DEL, 6, 0x10000) = 0", (9, 2, 6, AT), {AT: EVENT}),
    Case(f"epoll_wait(9, [{EVENT_TEXT}], 4, -1) = 1", (9, AT, 4, -1), {}, {AT: EVENT}, 1),
    Case("epoll_wait(9, [], 4, 0)                 = 0", (9, AT, 4, 0)),
    Case(
        "epoll_pwait(9, 0x10000, 4, 0, [INT], 8) = -1 EBADF (Bad file descriptor)",
        (9, AT, 4, 0, THERE, 8),
        {THERE: struct.pack("<Q", 2)},
        outcome="EBADF",
    ),
    Case(
        "epoll_pwait2(9, [], 4, {tv_sec=1, tv_nsec=500}, NULL, 0) = 0",
        (9, AT, 4, THERE, 0, 0),
        {THERE: struct.pack("<qq", 1, 500)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
