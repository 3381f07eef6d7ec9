"""Names in the file system, mounts and extended attributes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from tests.syscalls.shown import AT, BAD, PATH, THERE, Case, any_call, recorded
from utraced.syscalls.call import Call
from utraced.syscalls.calls import filesystem
from utraced.syscalls.text import call_text

NAMES = [*filesystem.SIGNATURES, *getattr(filesystem, "I386_SIGNATURES", {})]

FDCWD = -100


def entries(*lengths: int) -> bytes:
    """Return directory entries of ``lengths`` bytes."""
    return b"".join(struct.pack("<QQH", 1, 2, length).ljust(length, b"\0") for length in lengths)


CASES = [
    Case('access("/tmp/a", R_OK|W_OK|X_OK)        = 0', (PATH, 7)),
    Case('access("/tmp/a", 0x8 /* ?_OK */)        = -1 EINVAL (Invalid argument)', (PATH, 8), outcome="EINVAL"),
    Case('faccessat2(AT_FDCWD, "/tmp/a", F_OK, AT_SYMLINK_NOFOLLOW|AT_EACCESS) = 0', (FDCWD, PATH, 0, 0x300)),
    Case('readlink("/tmp/a", "targ\\tet", 100)     = 7', (PATH, AT, 100), {}, {AT: b"targ\tet\xff"}, 7),
    Case('readlink("/tmp/a", 0x10000, 3)          = -1 EINVAL (Invalid argument)', (PATH, AT, 3), outcome="EINVAL"),
    Case('getcwd("/tmp/a2", 100)                  = 8', (AT, 100), {}, {AT: b"/tmp/a2\0"}, 8),
    Case('getcwd("/t"..., 100)                    = 3', (AT, 100), {}, {AT: b"/tmp/a2\0"}, 3),
    Case(
        "getcwd(0x10000, 2)                      = -1 ERANGE (Numerical result out of range)", (AT, 2), outcome="ERANGE"
    ),
    Case('mkdirat(AT_FDCWD, "/tmp/a", 000)        = 0', (FDCWD, PATH, 0)),
    Case('chmod("/tmp/a", 07777)                  = 0', (PATH, 0o7777)),
    Case(
        'renameat2(AT_FDCWD, "/tmp/a", 3, 0x10, 0x8 /* RENAME_?? */) = -1 EINVAL (Invalid argument)',
        (FDCWD, PATH, 3, BAD, 8),
        outcome="EINVAL",
    ),
    Case('linkat(AT_FDCWD, "/tmp/a", 3, "/tmp/a", AT_SYMLINK_FOLLOW) = 0', (FDCWD, PATH, 3, PATH, 0x400)),
    Case('unlinkat(AT_FDCWD, "/tmp/a", AT_REMOVEDIR) = 0', (FDCWD, PATH, 0x200)),
    Case('symlinkat("/tmp/a", AT_FDCWD, "/tmp/a") = 0', (PATH, FDCWD, PATH)),
    Case('chown("/tmp/a", 0, -1)                  = 0', (PATH, 0, 0xFFFFFFFF)),
    Case('lchown("/tmp/a", 1000, -1)              = 0', (PATH, 1000, 0xFFFF), abi="i386"),
    Case("umask(022)                              = 0777", (0o22,), outcome=0o777),
    Case("umask(07777)                            = 000", (0o7777,)),
    Case('mknod("/tmp/a", S_IFIFO|0644)           = 0', (PATH, 0o10644, 7)),
    Case('mknod("/tmp/a", S_IFCHR|0600, makedev(0x1, 0x3)) = 0', (PATH, 0o20600, 0x103)),
    Case('mknodat(AT_FDCWD, "/tmp/a", S_IFREG|000) = 0', (FDCWD, PATH, 0o100000)),
    Case('mknod("/tmp/a", 0170644)                = -1 EINVAL (Invalid argument)', (PATH, 0o170644), outcome="EINVAL"),
    Case("getdents64(6, 0x10000 /* 2 entries */, 50) = 48", (6, AT, 50), {}, {AT: entries(24, 24)}, 48),
    Case("getdents64(6, 0x10000 /* 1+ entries */, 50) = 26", (6, AT, 50), {}, {AT: entries(24, 24)}, 26),
    Case("getdents64(6, 0x10 /* 0 entries */, 50) = 0", (6, BAD, 50)),
    Case(
        'mount("/tmp/a", "/tmp/a", "tmpfs", MS_RDONLY|MS_NOSUID, "size=1") = 0',
        (PATH, PATH, AT, 3, THERE),
        {AT: b"tmpfs\0", THERE: b"size=1\0"},
    ),
    Case(
        'mount("/tmp/a", "/tmp/a", 0x10000, MS_REMOUNT|MS_BIND, "x") = 0',
        (PATH, PATH, AT, 0x1020, THERE),
        {AT: b"tmpfs\0", THERE: b"x\0"},
    ),
    Case('mount(NULL, "/tmp/a", NULL, MS_REC|MS_PRIVATE, 0x20000) = 0', (0, PATH, 0, 0x44000, THERE), {THERE: b"x\0"}),
    Case('mount(NULL, "/tmp/a", "x", MS_MGC_VAL|MS_RDONLY, NULL) = 0', (0, PATH, AT, 0xC0ED0001, 0), {AT: b"x\0"}),
    Case('umount2("/tmp/a", MNT_FORCE|MNT_DETACH) = 0', (PATH, 3)),
    Case(
        'setxattr("/tmp/a", "user.a", "val\\0ue", 6, XATTR_CREATE) = 0',
        (PATH, AT, THERE, 6, 1),
        {AT: b"user.a\0", THERE: b"val\0ue"},
    ),
    Case('fsetxattr(3, "user.a", "val", 4, 0)     = 0', (3, AT, THERE, 4, 0), {AT: b"user.a\0", THERE: b"val\0"}),
    Case(
        'getxattr("/tmp/a", "user.a", "01234567890123456789012345678901"..., 100) = 40',
        (PATH, AT, THERE, 100),
        {AT: b"user.a\0"},
        {THERE: b"0123456789" * 4},
        40,
    ),
    Case('flistxattr(3, "user.a\\0", 100)          = 7', (3, AT, 100), {}, {AT: b"user.a\0"}, 7),
    Case("flistxattr(3, 0x10000, 0)               = 7", (3, AT, 0), outcome=7),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_the_line_is_straces(case: Case) -> None:
    assert case.text() == case.line


@given(any_call(NAMES))
def test_anything_prints_and_its_recording_prints_the_same(call: Call) -> None:
    assert call_text(recorded(call)) == call_text(call)
