"""stat, statx and statfs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, PATH, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import stat
from utraced.syscalls.text import call_text

NAMES = [*stat.SIGNATURES, *getattr(stat, "I386_SIGNATURES", {})]


def stat_64(mode: int, device: int = 0, size: int = 0) -> bytes:
    """Return a struct stat."""
    return struct.pack("<24xI12xQQ88x", mode, device, size)


def statfs_64(kind: int, flags: int) -> bytes:
    """Return a struct statfs."""
    return struct.pack("<QQQQQQQIIQQQ32x", kind, 4096, 7, 6, 5, 4, 3, 0x15, 0, 255, 4096, flags)


CASES = [
    Case(
        'stat("/tmp/a", {st_mode=S_IFDIR|0755, st_size=4096, ...}) = 0', (PATH, AT), {}, {AT: stat_64(0o40755, 0, 4096)}
    ),
    Case(
        "fstat(0, {st_mode=S_IFCHR|0666, st_rdev=makedev(0x1, 0x3), ...}) = 0",
        (0, AT),
        {},
        {AT: stat_64(0o20666, 0x103)},
    ),
    Case(
        'newfstatat(3, "/tmp/a", {st_mode=S_IFDIR|S_ISVTX|0777, st_size=1, ...}, AT_EMPTY_PATH) = 0',
        (3, PATH, AT, 0x1000),
        {},
        {AT: stat_64(0o41777, 0, 1)},
    ),
    Case("fstat(3, {st_mode=0666, st_size=0, ...}) = 0", (3, AT), {}, {AT: stat_64(0o666)}),
    Case("fstat(3, {st_mode=0174044, st_size=0, ...}) = 0", (3, AT), {}, {AT: stat_64(0o174044)}),
    Case("fstat(3, {st_mode=S_ISUID|0644, st_size=0, ...}) = 0", (3, AT), {}, {AT: stat_64(0o4644)}),
    Case(
        'stat("/tmp/a", 0x10000)                 = -1 ENOENT (No such file or directory)', (PATH, AT), outcome="ENOENT"
    ),
    Case(
        'stat64("/tmp/a", {st_mode=S_IFREG|0644, st_size=5, ...}) = 0',
        (PATH, AT),
        {},
        {AT: struct.pack("<16xI12xQ4xQ44x", 0o100644, 0, 5)},
        abi="i386",
    ),
    Case(
        'stat("/tmp/a", {st_mode=S_IFREG|0644, st_size=5, ...}) = 0',
        (PATH, AT),
        {},
        {AT: struct.pack("<8xH6xHxxI40x", 0o100644, 0, 5)},
        abi="i386",
    ),
    Case(
        'statx(AT_FDCWD, "/tmp/a", AT_STATX_DONT_SYNC|AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, '
        "{stx_mask=STATX_BASIC_STATS|STATX_MNT_ID, stx_attributes=STATX_ATTR_MOUNT_ROOT, stx_mode=S_IFDIR|0555, "
        "stx_size=0, ...}) = 0",
        (-100, PATH, 0x4100, 0x7FF, AT),
        {},
        {AT: struct.pack("<I4xQ12xH10xQ208x", 0x17FF, 0x2000, 0o40555, 0)},
    ),
    Case(
        'statx(3, "/tmp/a", AT_STATX_SYNC_AS_STAT|0x8, 0x10000 /* STATX_??? */, {stx_mask=STATX_MODE, '
        "stx_attributes=0, stx_mode=000, ...}) = 0",
        (3, PATH, 8, 0x10000, AT),
        {},
        {AT: struct.pack("<I4xQ12xH10xQ208x", 2, 0, 0, 9)},
    ),
    Case(
        'statfs("/tmp/a", {f_type=EXT2_SUPER_MAGIC, f_bsize=4096, f_blocks=7, f_bfree=6, f_bavail=5, f_files=4, '
        "f_ffree=3, f_fsid={val=[0x15, 0]}, f_namelen=255, f_frsize=4096, f_flags=ST_VALID|ST_RELATIME}) = 0",
        (PATH, AT),
        {},
        {AT: statfs_64(0xEF53, 0x1020)},
    ),
    Case(
        "fstatfs(3, {f_type=0xa29, f_bsize=4096, f_blocks=7, f_bfree=6, f_bavail=5, f_files=4, f_ffree=3, "
        "f_fsid={val=[0x15, 0]}, f_namelen=255, f_frsize=4096}) = 0",
        (3, AT),
        {},
        {AT: statfs_64(0xA29, 0x1000)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
