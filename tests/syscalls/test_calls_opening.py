"""Opening and closing files."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, PATH, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import opening
from utraced.syscalls.text import call_text

NAMES = [*opening.SIGNATURES, *getattr(opening, "I386_SIGNATURES", {})]

HOW = struct.Struct("<QQQ")
FDCWD = -100
CASES = [
    Case('open("/tmp/a", O_RDONLY)                = 3', (PATH, 0, 0o777), outcome=3),
    Case('open("/tmp/a", O_RDWR|O_CREAT|O_EXCL, 01777) = 4', (PATH, 0o302, 0o1777), outcome=4),
    Case('open("/tmp/a", O_RDWR|O_TMPFILE, 0600)  = 5', (PATH, 0o20200002, 0o600), outcome=5),
    Case(
        'open("/tmp/a", O_ACCMODE|O_CREAT|O_EXCL|O_NOCTTY|O_TRUNC|O_APPEND|O_NONBLOCK|O_SYNC|O_DIRECT|O_LARGEFILE|'
        "O_NOFOLLOW|O_NOATIME|O_CLOEXEC|O_PATH|O_TMPFILE|FASYNC|0xff80003c, 0177777) = -1 ENOENT (No such file or "
        "directory)",
        (PATH, 0xFFFFFFFF, 0o7777777),
        outcome="ENOENT",
    ),
    Case("openat(AT_FDCWD, NULL, O_RDONLY)        = -1 EFAULT (Bad address)", (FDCWD, 0, 0), outcome="EFAULT"),
    Case("openat(AT_FDCWD, 0x10, O_ACCMODE)       = -1 EFAULT (Bad address)", (FDCWD, BAD, 3), outcome="EFAULT"),
    Case(
        'openat(3, "x\\n\\t\\1\\2\\3773", O_WRONLY|0x10000000) = -1 EBADF (Bad file descriptor)',
        (3, AT, 0x10000001),
        {AT: b"x\n\t\1\2\3773\0"},
        outcome="EBADF",
    ),
    Case(
        'openat2(AT_FDCWD, "/tmp/a", {flags=O_RDWR|O_CREAT, mode=0600, resolve=RESOLVE_NO_XDEV|RESOLVE_BENEATH}, 24) '
        "= 6",
        (FDCWD, PATH, AT, 24),
        {AT: HOW.pack(0o102, 0o600, 9)},
        outcome=6,
    ),
    Case(
        'openat2(AT_FDCWD, "/tmp/a", {flags=O_RDONLY, mode=001, resolve=0}, 24) = -1 EINVAL (Invalid argument)',
        (FDCWD, PATH, AT, 24),
        {AT: HOW.pack(0, 1, 0)},
        outcome="EINVAL",
    ),
    Case(
        'openat2(AT_FDCWD, "/tmp/a", {flags=O_RDONLY, resolve=0x1000 /* RESOLVE_??? */}, 32) = 7',
        (FDCWD, PATH, AT, 32),
        {AT: HOW.pack(0, 0, 0x1000) + bytes(8)},
        outcome=7,
    ),
    Case(
        'openat2(AT_FDCWD, "/tmp/a", {flags=O_RDONLY, resolve=0, /* bytes 24..31 */ '
        '"\\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x00"}, 32) = -1 EINVAL (Invalid argument)',
        (FDCWD, PATH, AT, 32),
        {AT: HOW.pack(0, 0, 0) + b"\5" + bytes(7)},
        outcome="EINVAL",
    ),
    Case(
        'openat2(AT_FDCWD, "/tmp/a", {flags=O_RDONLY, resolve=0, ???}, 32) = -1 EINVAL (Invalid argument)',
        (FDCWD, PATH, AT, 32),
        {AT: HOW.pack(0, 0, 0)},
        outcome="EINVAL",
    ),
    Case(
        'openat2(AT_FDCWD, "/tmp/a", 0x10000, 8) = -1 EINVAL (Invalid argument)',
        (FDCWD, PATH, AT, 8),
        {AT: HOW.pack(0, 0, 0)},
        outcome="EINVAL",
    ),
    Case('creat("/tmp/a", 0640)                   = 8', (PATH, 0o640), outcome=8),
    Case("close(-1)                               = -1 EBADF (Bad file descriptor)", (-1,), outcome="EBADF"),
    Case("close_range(50, 4294967295, CLOSE_RANGE_CLOEXEC) = 0", (50, 0xFFFFFFFF, 4)),
    Case("dup2(3, 60)                             = 60", (3, 60), outcome=60),
    Case("dup3(3, 61, 0x3 /* O_??? */)            = -1 EINVAL (Invalid argument)", (3, 61, 3), outcome="EINVAL"),
    Case("pipe([11, 12])                          = 0", (AT,), {}, {AT: struct.pack("<ii", 11, 12)}),
    Case("pipe2(0x10, O_NONBLOCK|O_CLOEXEC)       = -1 EFAULT (Bad address)", (BAD, 0o2004000), outcome="EFAULT"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
