import ctypes
import errno
import os

import pytest

from tests.children import NOBODY, as_user, become, child, ended, fork, isolated, libc, needs_root, zombie
from utraced.linux import confinement
from utraced.linux.confinement import Confinement, Ids, Namespaces, View, parse, read, reasons
from utraced.linux.prctl import no_new_privs

STATUS = (
    b"Name:\tcat\nUmask:\t0022\nState:\tR (running)\nTgid:\t42\nUid:\t1000\t0\t1001\t1002\nGid:\t5\t6\t7\t8\n"
    b"Groups:\t4 24 \nCapInh:\t0000000000000000\nCapPrm:\t0000000000002000\nCapEff:\t0000000000000400\n"
    b"CapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n"
)
HERE = Namespaces(user=1, mount=2, pid=3)
FREE = Confinement(
    users=Ids(0, 0, 0, 0),
    groups=Ids(0, 0, 0, 0),
    permitted=0,
    effective=0,
    no_new_privs=False,
    seccomp=0,
    namespaces=HERE,
)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x0002_0000, 0x1000_0000, 0x2000_0000


def confined(**changed):
    return Confinement(**{name: getattr(FREE, name) for name in FREE.__struct_fields__} | changed)


def seccomp_filter():
    """Install a filter that allows everything (linux/filter.h: BPF_RET|BPF_K, SECCOMP_RET_ALLOW)."""

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    no_new_privs()
    allow = (0x06).to_bytes(2, "little") + b"\0\0" + (0x7FFF0000).to_bytes(4, "little")
    program = Program(1, allow)
    assert libc().prctl(22, ctypes.c_ulong(2), ctypes.byref(program), 0, 0) == 0


def unshare(flags):
    assert libc().unshare(flags) == 0


def test_what_the_lines_say():
    assert parse(STATUS, HERE) == Confinement(
        users=Ids(1000, 0, 1001, 1002),
        groups=Ids(5, 6, 7, 8),
        permitted=1 << 13,
        effective=1 << 10,
        no_new_privs=True,
        seccomp=2,
        namespaces=HERE,
    )


@pytest.mark.parametrize("line", [b"Uid", b"Gid", b"CapPrm", b"CapEff", b"NoNewPrivs"])
def test_a_missing_line_is_not_taken_for_freedom(line):
    with pytest.raises(KeyError):
        parse(STATUS.replace(b"\n" + line + b":", b"\nOther:"), HERE)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        (b"Uid:\t1000\t0\t1001\t1002", b"Uid:\t1000\t0\t1001"),
        (b"Uid:\t1000", b"Uid:\tx"),
        (b"NoNewPrivs:\t1", b"NoNewPrivs:\t"),
        (b"CapEff:\t00", b"CapEff:\tzz"),
        (b"Seccomp:\t2", b"Seccomp:\tno"),
    ],
)
def test_neither_is_a_line_of_another_form(line, changed):
    with pytest.raises(ValueError, match=r"."):
        parse(STATUS.replace(line, changed), HERE)


def test_a_kernel_without_seccomp():
    assert parse(STATUS.replace(b"\nSeccomp:", b"\nOther:"), HERE).seccomp == 0


@pytest.mark.parametrize("name", [b"\rUid:\t0 0 0 0", b"\rSeccomp:0", b"\rx", b":", b"\\nSeccomp:\t0"])
def test_a_name_is_no_line(name):
    without = STATUS.replace(b"\nSeccomp:\t2", b"")
    for text in (STATUS, without):
        assert parse(text.replace(b"cat", name), HERE) == parse(text, HERE)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ()),
        ({"no_new_privs": True}, ("no_new_privs is set",)),
        ({"seccomp": 1}, ("it runs in seccomp's strict mode",)),
        ({"seccomp": 2}, ("a seccomp filter is installed",)),
        ({"seccomp": 9}, ("it is in seccomp's mode 9",)),
        ({"namespaces": Namespaces(9, 2, 3)}, ("it is in another user namespace",)),
        ({"namespaces": Namespaces(1, 9, 3)}, ("it is in another mount namespace",)),
        ({"namespaces": Namespaces(1, 2, 9)}, ("it is in another pid namespace",)),
        ({"users": Ids(1, 2, 3, 4), "groups": Ids(1, 2, 3, 4), "permitted": 1, "effective": 1}, ()),
    ],
)
def test_what_keeps_a_process_from_something(changed, said):
    assert reasons(confined(**changed), FREE) == said


def test_all_of_it_is_said():
    of = confined(no_new_privs=True, seccomp=2, namespaces=Namespaces(7, 8, 9))
    assert len(reasons(of, FREE)) == 5


def test_our_own_confinement_frees_nobody():
    of = confined(no_new_privs=True, seccomp=2)
    assert len(reasons(of, of)) == 2


def test_oneself():
    own = read(os.getpid())
    assert own.users[:3] == os.getresuid()
    assert own.groups[:3] == os.getresgid()
    assert own.namespaces == tuple(os.stat(f"/proc/self/ns/{name}").st_ino for name in ("user", "mnt", "pid"))
    with child() as pid:
        assert read(pid) == own


@needs_root
def test_ids_and_capabilities():
    def prepare():
        os.setresgid(10, 11, 12)
        os.setresuid(20, 21, 22)

    with child(prepare) as pid:
        told = read(pid)
    assert (told.users, told.groups) == (Ids(20, 21, 22, 21), Ids(10, 11, 12, 11))
    assert (told.permitted, told.effective) == (0, 0)
    assert read(os.getpid()).effective != 0


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (no_new_privs, {"no_new_privs is set"}),
        (seccomp_filter, {"no_new_privs is set", "a seccomp filter is installed"}),
        (lambda: unshare(CLONE_NEWUSER), {"it is in another user namespace"}),
        (
            lambda: unshare(CLONE_NEWUSER | CLONE_NEWNS),
            {"it is in another user namespace", "it is in another mount namespace"},
        ),
    ],
    ids=["no_new_privs", "seccomp", "user", "mount"],
)
def test_the_kernel_shows_it(prepare, said):
    ours = read(os.getpid())
    before = reasons(ours, ours)
    with child(prepare) as pid:
        assert set(reasons(read(pid), ours)) == said.union(before)


@needs_root
def test_a_pid_namespace():
    ours = read(os.getpid())

    def inside():
        # Only children are in it.
        unshare(CLONE_NEWPID)
        with child() as pid:
            return read(pid).namespaces

    told = isolated(inside)
    assert told.pid != ours.namespaces.pid
    assert told[:2] == ours.namespaces[:2]


def test_what_has_ended():
    with pytest.raises(OSError, match=r".") as told:
        read(ended())
    assert told.value.errno in {errno.ENOENT, errno.ESRCH}
    with zombie() as pid, pytest.raises(OSError, match=r".") as told:
        read(pid)
    assert told.value.errno in {errno.ENOENT, errno.ESRCH, errno.EACCES}


@needs_root
def test_whom_we_may_not_look_into():
    with child(lambda: become(1000)) as pid:

        def ask():
            try:
                read(pid)
            except PermissionError as error:
                return error.errno
            return None

        assert as_user(ask, NOBODY) == errno.EACCES


@pytest.mark.parametrize(
    ("what", "said", "error"),
    [
        ("_read_status", b"Name:\tx\n", "NoNewPrivs|Uid"),
        ("_read_status", STATUS.replace(b"Seccomp:\t2", b"Seccomp:\tno"), "no"),
    ],
)
def test_what_the_kernel_does_not_say_is_an_error(what, said, error, monkeypatch):
    monkeypatch.setattr(View, what, lambda view: said)
    with pytest.raises(OSError, match=error) as told:
        read(os.getpid())
    assert told.value.errno == errno.ENODATA


@pytest.mark.parametrize("link", ["", "user", "user:[]", "user:[x]", "mnt:[4026531837]", "/", "user:4026531837"])
def test_neither_is_a_namespace_of_another_form(link, monkeypatch):
    monkeypatch.setattr(confinement.os, "readlink", lambda *_, **__: link)
    with pytest.raises(OSError, match="not what it should be") as told:
        read(os.getpid())
    assert told.value.errno == errno.ENODATA


def test_a_view_is_of_one_process_and_sees_it_change():
    reading, writing = os.pipe()
    told, tell = os.pipe()

    def prepare():
        os.read(reading, 1)
        no_new_privs()
        os.write(tell, b"!")

    pid = fork()
    if pid == 0:
        try:
            prepare()
            os.read(reading, 1)
        finally:
            os._exit(0)
    with View(pid) as view:
        before = view.read()
        assert view.read() == before
        assert view.root() == (os.stat("/").st_dev, os.stat("/").st_ino)
        os.write(writing, b"!")
        os.read(told, 1)
        assert reasons(view.read(), before) == ("no_new_privs is set",)
        os.write(writing, b"!")
        os.waitpid(pid, 0)
        for look in (view.read, view.root):
            with pytest.raises(OSError, match=r".") as ended_:
                look()
            assert ended_.value.errno in {errno.ENOENT, errno.ESRCH}
    for fd in (reading, writing, told, tell):
        os.close(fd)


def test_a_status_of_any_length_is_read_whole(monkeypatch):
    monkeypatch.setattr(confinement, "_CHUNK", 7)
    assert read(os.getpid()).users == Ids(*os.getresuid(), os.geteuid())
