"""fcntl."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import fcntl
from utraced.syscalls.text import call_text

NAMES = [*fcntl.SIGNATURES, *getattr(fcntl, "I386_SIGNATURES", {})]

LOCK = struct.pack("<hh4xqqi4x", 1, 0, 5, 10, 0)
CASES = [
    Case("fcntl(3, F_DUPFD, 10)                   = 18", (3, 0, 10), outcome=18),
    Case("fcntl(3, F_GETFD)                       = 0x1 (flags FD_CLOEXEC)", (3, 1), outcome=1),
    Case("fcntl(3, F_GETFD)                       = 0", (3, 1)),
    Case("fcntl(3, F_SETFD, FD_CLOEXEC|0x2)       = 0", (3, 2, 3)),
    Case("fcntl(3, F_GETFL)                       = 0x8002 (flags O_RDWR|O_LARGEFILE)", (3, 3), outcome=0x8002),
    Case("fcntl(4, F_GETFL)                       = 0 (flags O_RDONLY)", (4, 3)),
    Case("fcntl(-1, F_GETFL)                      = -1 EBADF (Bad file descriptor)", (-1, 3), outcome="EBADF"),
    Case("fcntl(3, F_SETFL, O_RDWR|O_APPEND|O_NONBLOCK) = 0", (3, 4, 0o6002)),
    Case("fcntl(3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=5, l_len=10}) = 0", (3, 6, AT), {AT: LOCK}),
    Case(
        "fcntl(3, F_GETLK, {l_type=F_UNLCK, l_whence=SEEK_SET, l_start=5, l_len=10, l_pid=9}) = 0",
        (3, 5, AT),
        {AT: LOCK},
        {AT: struct.pack("<hh4xqqi4x", 2, 0, 5, 10, 9)},
    ),
    Case(
        "fcntl(3, F_SETLK, {l_type=0x7 /* F_??? */, l_whence=0x9 /* SEEK_??? */, l_start=-2, l_len=10}) = -1 EINVAL "
        "(Invalid argument)",
        (3, 6, AT),
        {AT: struct.pack("<hh4xqqi4x", 7, 9, -2, 10, 0)},
        outcome="EINVAL",
    ),
    Case(
        "fcntl(3, F_GETLK, 0x10000)              = -1 EINVAL (Invalid argument)",
        (3, 5, AT),
        {AT: LOCK},
        outcome="EINVAL",
    ),
    Case("fcntl(3, F_SETLK, 0x10)                 = -1 EFAULT (Bad address)", (3, 6, BAD), outcome="EFAULT"),
    Case(
        "fcntl(3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=7, l_len=9}) = 0",
        (3, 6, AT),
        {AT: struct.pack("<hhiii", 1, 0, 7, 9, 0)},
        abi="i386",
    ),
    Case(
        "fcntl64(3, F_SETLK64, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=7, l_len=9}) = 0",
        (3, 13, AT),
        {AT: struct.pack("<hhqqi", 1, 0, 7, 9, 0)},
        abi="i386",
    ),
    Case("fcntl(4, F_SETPIPE_SZ, 8192)            = 8192", (4, 1031, 8192), outcome=8192),
    Case("fcntl(20, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW) = 0", (20, 1033, 6)),
    Case("fcntl(20, F_GET_SEALS)                  = 0x6 (seals F_SEAL_SHRINK|F_SEAL_GROW)", (20, 1034), outcome=6),
    Case("fcntl(3, F_SETSIG, SIGUSR1)             = 0", (3, 10, 10)),
    Case("fcntl(3, F_GETSIG)                      = 10 (SIGUSR1)", (3, 11), outcome=10),
    Case("fcntl(3, F_SETOWN, -6504)               = 0", (3, 8, -6504)),
    Case("fcntl(3, F_SETOWN_EX, {type=F_OWNER_PID, pid=6504}) = 0", (3, 15, AT), {AT: struct.pack("<ii", 1, 6504)}),
    Case("fcntl(3, F_GETLEASE)                    = 0x2 (F_UNLCK)", (3, 1025), outcome=2),
    Case("fcntl(3, F_NOTIFY, DN_CREATE|DN_MULTISHOT) = 0", (3, 1026, 0x80000004)),
    Case("fcntl(3, 0x63 /* F_??? */, 0x5)         = -1 EINVAL (Invalid argument)", (3, 99, 5), outcome="EINVAL"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
