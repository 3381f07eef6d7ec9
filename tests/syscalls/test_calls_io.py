"""Reading and writing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, MINUS_1, PATH, THERE, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import io
from utraced.syscalls.text import call_text

NAMES = [*io.SIGNATURES, *getattr(io, "I386_SIGNATURES", {})]

LONG = b"0123456789" * 4
SHOWN = '"01234567890123456789012345678901"...'


def vectors(*pairs: tuple[int, int], word: str = "Q") -> bytes:
    """Return an array of struct iovec."""
    return b"".join(struct.pack(f"<{word}{word}", *pair) for pair in pairs)


CASES = [
    Case('read(3, "hello\\nworld", 11)             = 11', (3, AT, 11), {}, {AT: b"hello\nworld"}, 11),
    Case(f"read(3, {SHOWN}, 100) = 40", (3, AT, 100), {}, {AT: LONG}, 40),
    Case('read(3, "", 10)                         = 0', (3, AT, 10)),
    Case("read(-1, 0x10000, 4)                    = -1 EBADF (Bad file descriptor)", (-1, AT, 4), outcome="EBADF"),
    Case('write(3, "\\0\\0011", 3)                  = 3', (3, AT, 3), {AT: b"\0\0011"}, {}, 3),
    Case("write(3, NULL, 5)                       = -1 EFAULT (Bad address)", (3, 0, 5), outcome="EFAULT"),
    Case("write(3, 0x10000, 8)                    = 4", (3, AT, 8), {AT: b"half"}, outcome=4),
    Case('pread64(3, "lo", 10, 3)                 = 2', (3, AT, 10, 3), {}, {AT: b"lo"}, 2),
    Case("pread64(3, 0x10000, 10, -3)             = -1 EINVAL (Invalid argument)", (3, AT, 10, -3), outcome="EINVAL"),
    Case(
        f'writev(3, [{{iov_base="abc", iov_len=3}}, {{iov_base={SHOWN}, iov_len=40}}, '
        "{iov_base=NULL, iov_len=0}, {iov_base=0x10, iov_len=2}], 4) = 43",
        (3, AT, 4),
        {AT: vectors((THERE, 3), (THERE + 3, 40), (0, 0), (BAD, 2)), THERE: b"abc" + LONG},
        outcome=43,
    ),
    Case(
        'writev(3, [{iov_base="abc", iov_len=3}, ... /* 0x10010 */], 3) = -1 EFAULT (Bad address)',
        (3, AT, 3),
        {AT: vectors((THERE, 3)) + b"1234", THERE: b"abc"},
        outcome="EFAULT",
    ),
    Case("writev(3, NULL, 2)                      = -1 EFAULT (Bad address)", (3, 0, 2), outcome="EFAULT"),
    Case("writev(3, [], 0)                        = 0", (3, AT, 0)),
    Case(
        'readv(3, [{iov_base="hel", iov_len=3}, {iov_base="lo", iov_len=40}], 2) = 5',
        (3, AT, 2),
        {},
        {AT: vectors((THERE, 3), (THERE + 100, 40)), THERE: b"hel", THERE + 100: b"lo"},
        5,
    ),
    Case(
        "readv(-1, [{iov_base=0x20000, iov_len=3}], 1) = -1 EBADF (Bad file descriptor)",
        (-1, AT, 1),
        {AT: vectors((THERE, 3)), THERE: b"abc"},
        outcome="EBADF",
    ),
    Case(
        'preadv2(3, [{iov_base="abc", iov_len=3}], 1, 4, RWF_HIPRI|RWF_NOWAIT) = 3',
        (3, AT, 1, 4, 0, 9),
        {},
        {AT: vectors((THERE, 3)), THERE: b"abc"},
        3,
    ),
    Case(
        'pwritev2(3, [{iov_base="abc", iov_len=3}], 1, 4294967299, RWF_DSYNC) = 3',
        (3, AT, 1, 3, 1, 2),
        {AT: vectors((THERE, 3), word="I"), THERE: b"abc"},
        outcome=3,
        abi="i386",
    ),
    Case(
        'process_vm_readv(7, [{iov_base="remot", iov_len=5}], 1, [{iov_base=0x64, iov_len=5}], 1, 0) = 5',
        (7, AT, 1, AT + 16, 1, 0),
        {AT + 16: vectors((100, 5))},
        {AT: vectors((THERE, 5)), THERE: b"remot"},
        5,
    ),
    Case("lseek(3, -3, SEEK_CUR)                  = 3", (3, -3, 1), outcome=3),
    Case("lseek(3, 0, 0x9 /* SEEK_??? */)         = -1 EINVAL (Invalid argument)", (3, 0, 9), outcome="EINVAL"),
    Case(
        "_llseek(3, 4294967298, [4294967298], SEEK_SET) = 0",
        (3, 1, 2, AT, 0),
        {},
        {AT: struct.pack("<q", (1 << 32) + 2)},
        abi="i386",
    ),
    Case("flock(3, LOCK_EX|LOCK_NB)               = 0", (3, 6)),
    Case("flock(3, LOCK_MAND|LOCK_READ)           = 0", (3, 0x60)),
    Case("fsync(3)                                = 0", (3,)),
    Case("sync()                                  = 0"),
    Case('truncate("/tmp/a", 18446744073709551615) = -1 EINVAL (Invalid argument)', (PATH, MINUS_1), outcome="EINVAL"),
    Case("ftruncate64(3, 4294967396)              = 0", (3, 100, 1), abi="i386"),
    Case("fallocate(3, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, 0, 4096) = 0", (3, 3, 0, 4096)),
    Case("fallocate(3, 0, 8589934593, 17179869187) = 0", (3, 0, 1, 2, 3, 4), abi="i386"),
    Case("fadvise64(3, 0, 10, POSIX_FADV_NOREUSE) = 0", (3, 0, 10, 5)),
    Case("fadvise64(3, 1, 100, POSIX_FADV_RANDOM) = 0", (3, 1, 0, 100, 1), abi="i386"),
    Case("readahead(3, -1, 18446744073709551615)  = -1 EINVAL (Invalid argument)", (3, -1, -1), outcome="EINVAL"),
    Case(
        "sendfile(17, 3, [5] => [15], 10)        = 10",
        (17, 3, AT, 10),
        {AT: struct.pack("<q", 5)},
        {AT: struct.pack("<q", 15)},
        10,
    ),
    Case("sendfile(17, 3, [15], 0)                = 0", (17, 3, AT, 0), {AT: struct.pack("<q", 15)}),
    Case("sendfile(17, 3, 0x10, 10)               = -1 EFAULT (Bad address)", (17, 3, BAD, 10), outcome="EFAULT"),
    Case(
        "splice(3, [0], 16, NULL, 10, SPLICE_F_MOVE|SPLICE_F_NONBLOCK) = 10",
        (3, AT, 16, 0, 10, 3),
        {AT: bytes(8)},
        {AT: b"\n" + bytes(7)},
        10,
    ),
    Case(
        "tee(15, 16, 5, SPLICE_F_MORE|SPLICE_F_GIFT|0x10) = -1 EINVAL (Invalid argument)",
        (15, 16, 5, 28),
        outcome="EINVAL",
    ),
    Case(
        "copy_file_range(3, NULL, 17, NULL, 5, 1) = -1 EINVAL (Invalid argument)", (3, 0, 17, 0, 5, 1), outcome="EINVAL"
    ),
    Case(
        "io_uring_enter(5, 1, 2, IORING_ENTER_GETEVENTS|IORING_ENTER_SQ_WAKEUP, NULL, 8) = 1",
        (5, 1, 2, 3, 0, 8),
        outcome=1,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
