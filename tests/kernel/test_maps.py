import errno
import mmap
import os

import pytest

from tests.children import child, zombie
from utraced.errors import NoSuchProcess
from utraced.kernel import maps
from utraced.kernel.maps import file_at, find_map, parse_maps, read_maps
from utraced.kernel.proc import Process

TEXT = b"""\
55d0c0a00000-55d0c0a02000 r--p 00001000 fe:00 1234                       /usr/bin/cat
7f0000000000-7f0000001000 rw-s 00000000 00:01 5                          /memfd:a b (deleted)
7f0000002000-7f0000003000 ---p 00000000 00:00 0 
7ffd00000000-7ffd00021000 rwxp 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""  # noqa: W291 - as the kernel writes it


def test_the_text():
    assert parse_maps(TEXT) == [
        (0x55D0C0A00000, 0x55D0C0A02000, "r--p", 0x1000, 0xFE, 0, 1234, b"/usr/bin/cat", False),
        (0x7F0000000000, 0x7F0000001000, "rw-s", 0, 0, 1, 5, b"/memfd:a b", True),
        (0x7F0000002000, 0x7F0000003000, "---p", 0, 0, 0, 0, None, False),
        (0x7FFD00000000, 0x7FFD00021000, "rwxp", 0, 0, 0, 0, b"[stack]", False),
        (0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, "--xp", 0, 0, 0, 0, b"[vsyscall]", False),
    ]
    assert parse_maps(b"") == []


def test_text_and_query_agree():
    with child() as pid, Process(pid) as process:
        whole = read_maps(process)
        assert {b"[stack]", b"[vdso]"} <= {each.path for each in whole}
        assert whole == sorted(whole)
        for each in whole:
            if each.path != b"[vsyscall]":
                assert find_map(process, each.start) == find_map(process, each.end - 1) == each
        assert find_map(process, 0) is None
        assert find_map(process, whole[0].start - 1) is None


def test_before_linux_6_11_the_text_is_searched(monkeypatch):
    def without(*_):
        raise OSError(errno.ENOTTY, "no such ioctl")

    monkeypatch.setattr(maps.fcntl, "ioctl", without)
    with child() as pid, Process(pid) as process:
        stack = next(each for each in read_maps(process) if each.path == b"[stack]")
        assert find_map(process, stack.start + 5) == stack
        assert find_map(process, 0) is None


NAMES = [b"plain", b"two  blanks ", b"line\nfeed", b"back\\012slash", b"both\\012\n", b"\xff\x01", b"x (deleted) y"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("deleted", [False, True])
def test_files_may_have_any_name(tmp_path, name, deleted):
    path = os.fsencode(tmp_path) + b"/" + name

    def prepare():
        fd = os.open(path, os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 8192)
        mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=4096)
        kept.append(mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=4096))
        if deleted:
            os.unlink(path)

    kept = []
    with child(prepare) as pid, Process(pid) as process:
        found = [each for each in read_maps(process) if each.path == path]
    assert [(each.perms, each.offset, each.deleted) for each in found] == [("rw-s", 4096, deleted)]
    if not deleted:
        assert found[0].inode == os.stat(path).st_ino
        assert os.makedev(found[0].major, found[0].minor) == os.stat(path).st_dev


def test_a_zombie_has_none():
    with zombie() as pid, Process(pid) as process:
        assert read_maps(process) == []
        with pytest.raises(NoSuchProcess):
            find_map(process, 4096)


LIBRARY = b"""\
7f0000000000-7f0000001000 r--p 00000000 fe:00 77                         /usr/lib/libm.so.6
7f0000001000-7f0000002000 r-xp 00001000 fe:00 77                         /usr/lib/libm.so.6
7f0000002000-7f0000003000 rw-p 00000000 00:00 0
7f0000003000-7f0000004000 r-xp 00005000 fe:00 78                         /usr/lib/headless.so
7f0000005000-7f0000006000 r--p 00000000 00:00 0                          [vvar]
"""


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (0x7F0000000000, (b"/usr/lib/libm.so.6", 0x7F0000000000)),
        (0x7F0000001FFF, (b"/usr/lib/libm.so.6", 0x7F0000000000)),
        (0x7F0000002000, None),
        (0x7F0000003000, None),
        (0x7F0000004000, None),
        (0x7F0000005000, None),
        (0x1000, None),
        (1 << 63, None),
    ],
)
def test_the_file_at_an_address_and_its_beginning(address, found):
    assert file_at(parse_maps(LIBRARY), address) == found
