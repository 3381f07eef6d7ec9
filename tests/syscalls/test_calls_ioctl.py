"""ioctl and the structures of terminals."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import ioctl
from utraced.syscalls.text import call_text

NAMES = [*ioctl.SIGNATURES, *getattr(ioctl, "I386_SIGNATURES", {})]

EBADF = "= -1 EBADF (Bad file descriptor)"


def termios(inputs: int, outputs: int, control: int, local: int) -> bytes:
    """Return a struct termios."""
    return struct.pack("<IIII20x", inputs, outputs, control, local)


CASES = [
    Case(
        "ioctl(13, TCGETS, {c_iflag=ICRNL|IXON, c_oflag=NL0|CR0|TAB0|BS0|VT0|FF0|OPOST|ONLCR, "
        "c_cflag=B38400|CS8|CREAD, c_lflag=ISIG|ICANON|ECHO|ECHOE|ECHOK|IEXTEN|ECHOCTL|ECHOKE, ...}) = 0",
        (13, 0x5401, AT),
        {},
        {AT: termios(0o2400, 5, 0o277, 0o105073)},
    ),
    Case(
        "ioctl(0, TCGETS, 0x10000)               = -1 ENOTTY (Inappropriate ioctl for device)",
        (0, 0x5401, AT),
        outcome="ENOTTY",
    ),
    Case(
        "ioctl(13, SNDCTL_TMR_START or TCSETS, {c_iflag=0x80000000, c_oflag=NL1|CR3|XTABS|BS1|VT1|FF1|, "
        "c_cflag=B0|B50<<IBSHIFT|CS5|, c_lflag=, ...}) = 0",
        (13, 0x5402, AT),
        {AT: termios(1 << 31, 0xFF00, 1 << 16, 0)},
    ),
    Case(
        "ioctl(13, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0",
        (13, 0x5413, AT),
        {},
        {AT: struct.pack("<HHHH", 24, 80, 0, 0)},
    ),
    Case(f"ioctl(-1, TIOCSWINSZ, NULL)             {EBADF}", (-1, 0x5414, 0), outcome="EBADF"),
    Case("ioctl(12, TIOCGPGRP, [-2])              = 0", (12, 0x540F, AT), {}, {AT: struct.pack("<i", -2)}),
    Case("ioctl(6, FIONREAD, [3])                 = 0", (6, 0x541B, AT), {}, {AT: struct.pack("<i", 3)}),
    Case("ioctl(6, FIONBIO, [1])                  = 0", (6, 0x5421, AT), {AT: struct.pack("<i", 1)}),
    Case("ioctl(6, FIONBIO, 0x10)                 = -1 EFAULT (Bad address)", (6, 0x5421, BAD), outcome="EFAULT"),
    Case("ioctl(3, FIOCLEX)                       = 0", (3, 0x5451, AT)),
    Case("ioctl(12, TCFLSH, TCIOFLUSH)            = 0", (12, 0x540B, 2)),
    Case("ioctl(12, TCSBRK, 1)                    = 0", (12, 0x5409, 1)),
    Case('ioctl(-1, TIOCSTI, "x")                 = 0', (-1, 0x5412, AT), {AT: b"x"}),
    Case("ioctl(3, BTRFS_IOC_CLONE or FICLONE, 6) = 0", (3, 0x40049409, 6)),
    Case(
        "ioctl(3, BTRFS_IOC_CLONE_RANGE or FICLONERANGE, {src_fd=6, src_offset=1, src_length=2, dest_offset=3}) = 0",
        (3, 0x4020940D, AT),
        {AT: struct.pack("<qQQQ", 6, 1, 2, 3)},
    ),
    Case("ioctl(3, FS_IOC_GETFLAGS, [FS_EXTENT_FL]) = 0", (3, 0x80086601, AT), {}, {AT: struct.pack("<I", 0x80000)}),
    Case(
        "ioctl(3, FS_IOC_FSGETXATTR, {fsx_xflags=FS_XFLAG_SYNC, fsx_extsize=1, fsx_nextents=2, fsx_projid=0x3, "
        "fsx_cowextsize=4}) = 0",
        (3, 0x801C581F, AT),
        {},
        {AT: struct.pack("<IIIII8x", 0x20, 1, 2, 3, 4)},
    ),
    Case(
        "ioctl(3, FS_IOC_FIEMAP, {fm_start=0, fm_length=9, fm_flags=FIEMAP_FLAG_SYNC, fm_extent_count=2} => "
        "{fm_flags=0, fm_mapped_extents=1, ...}) = 0",
        (3, 0xC020660B, AT),
        {AT: struct.pack("<QQIII4x", 0, 9, 1, 0, 2)},
        {AT: struct.pack("<QQIII4x", 0, 9, 0, 1, 2)},
    ),
    Case("ioctl(3, FITRIM, {start=0x5, len=2, minlen=1}) = 0", (3, 0xC0185879, AT), {AT: struct.pack("<QQQ", 5, 2, 1)}),
    Case("ioctl(3, BLKDISCARD, [0, 7])            = 0", (3, 0x1277, AT), {AT: struct.pack("<QQ", 0, 7)}),
    Case("ioctl(3, BLKGETSIZE64, [1099511627776]) = 0", (3, 0x80081272, AT), {}, {AT: struct.pack("<Q", 1 << 40)}),
    Case(f"ioctl(-1, KVM_GET_API_VERSION, 0)       {EBADF}", (-1, 0xAE00, 0), outcome="EBADF"),
    Case(f"ioctl(-1, _IOC(_IOC_READ, 0x54, 0x1, 0x4), 0) {EBADF}", (-1, 0x80045401, 0), outcome="EBADF"),
    Case(f"ioctl(-1, _IOC(_IOC_NONE, 0, 0x12, 0), 0x3) {EBADF}", (-1, 0x12, 3), outcome="EBADF"),
    Case(
        f"ioctl(-1, _IOC(_IOC_READ|_IOC_WRITE, 0xbe, 0xef, 0x1ead), 0x1234) {EBADF}",
        (-1, 0xDEADBEEF, 0x1234),
        outcome="EBADF",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
