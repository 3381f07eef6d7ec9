from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.children import become, fork, libc, needs_root
from utraced.broker import admission
from utraced.broker.admission import Admission, PeerEnded, label_confines, usable
from utraced.errors import PermissionDenied
from utraced.linux.capabilities import CAP_SYS_PTRACE, set_capabilities
from utraced.linux.confinement import View
from utraced.linux.identity import Identity
from utraced.linux.prctl import no_new_privs

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind("")
        sock.listen()
        yield sock


def admitted(
    listener: socket.socket, prepare: Callable[[], object] = lambda: None, **rules: Any
) -> tuple[Identity, int]:
    """Return whom a child's worker would be that connects after ``prepare`` and stays, and the child's pid."""
    name = listener.getsockname()
    pid = fork()
    if pid == 0:
        try:
            listener.close()
            prepare()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.connect(name)
            sock.recv(1)
        finally:
            os._exit(0)
    try:
        sock, _ = listener.accept()
        with sock:
            found = Admission(**rules).admit(sock)
            assert found.peer.pid == pid
            return found.identity, pid
    finally:
        os.waitpid(pid, 0)


def refused(listener: socket.socket, prepare: Callable[[], object], **rules: Any) -> str:
    """Return why such a child is refused."""
    with pytest.raises(PermissionDenied) as caught:
        admitted(listener, prepare, **rules)
    assert caught.value.reason == "policy"
    assert "private worker" in caught.value.hint
    assert caught.value.data["confined"]
    return str(caught.value)


def unshare(flags: int) -> None:
    if libc().unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def filter_calls() -> None:
    """Install a seccomp filter that lets everything pass (BPF_RET|BPF_K, SECCOMP_RET_ALLOW)."""
    code = ctypes.create_string_buffer((0x06).to_bytes(8, "little")[:4] + (0x7FFF_0000).to_bytes(4, "little"), 8)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    program = Program(1, ctypes.addressof(code))
    if libc().prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def test_our_own(listener: socket.socket) -> None:
    identity, _ = admitted(listener)
    assert (identity.uid, identity.gid, set(identity.groups)) == (os.geteuid(), os.getegid(), set(os.getgroups()))


@needs_root
def test_a_user_gets_no_capability(listener: socket.socket) -> None:
    def prepare() -> None:
        os.setgroups([30, 10, 20])
        os.setresgid(2000, 2000, 2000)
        os.setresuid(1000, 1000, 1000)

    assert admitted(listener, prepare)[0] == Identity(1000, 2000, (10, 20, 30), 0)


@needs_root
def test_a_user_with_a_capability_gets_none(listener: socket.socket) -> None:
    def prepare() -> None:
        libc().prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        become(1000)
        set_capabilities(CAP_SYS_PTRACE)

    assert admitted(listener, prepare)[0].capabilities == 0


@needs_root
@pytest.mark.parametrize("mask", [0, CAP_SYS_PTRACE])
def test_root_gets_what_it_has(mask: int, listener: socket.socket) -> None:
    assert admitted(listener, lambda: set_capabilities(mask))[0].capabilities == mask


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (no_new_privs, "no_new_privs is set"),
        pytest.param(filter_calls, "a seccomp filter is installed", marks=needs_root),
        pytest.param(lambda: unshare(CLONE_NEWNS), "another mount namespace", marks=needs_root),
        pytest.param(lambda: unshare(CLONE_NEWUSER), "another user namespace", marks=needs_root),
        pytest.param(lambda: os.chroot("/proc"), "another root directory", marks=needs_root),
    ],
)
def test_a_confined_process_is_refused(prepare: Callable[[], object], why: str, listener: socket.socket) -> None:
    assert why in refused(listener, prepare)


@needs_root
def test_one_in_another_pid_namespace(listener: socket.socket) -> None:
    script = "import socket, sys; s = socket.socket(1, 5); s.connect(bytes.fromhex(sys.argv[1])); s.recv(1)"
    words = ["unshare", "--pid", "--fork", "python3", "-c", script, listener.getsockname().hex()]
    for foreign in (False, True):
        with subprocess.Popen(words) as process:
            sock, _ = listener.accept()
            with sock:
                if foreign:
                    assert Admission(foreign_pid_namespaces=True).admit(sock).identity.uid == 0
                else:
                    with pytest.raises(PermissionDenied, match="another pid namespace"):
                        Admission().admit(sock)
            process.wait(30)


def test_one_whose_namespace_hides_it(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    who = admission.peer
    monkeypatch.setattr(admission, "peer", lambda sock: type(who(sock))(pid=0, uid=0, gid=0))
    with pytest.raises(PermissionDenied, match="not below"):
        admitted(listener)


def test_one_that_has_ended(listener: socket.socket) -> None:
    name = listener.getsockname()
    pid = fork()
    if pid == 0:
        try:
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(name)
        finally:
            os._exit(0)
    sock, _ = listener.accept()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with sock:
        with pytest.raises(PeerEnded):
            Admission().admit(sock)
        os.waitpid(pid, 0)
        with pytest.raises(PeerEnded):
            Admission().admit(sock)


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (errno.EINVAL, PeerEnded),
        (errno.ESRCH, PeerEnded),
        (errno.ENODATA, PeerEnded),
        (errno.ENOPROTOOPT, PermissionDenied),
        (errno.EPERM, PermissionDenied),
        (errno.EMFILE, OSError),
        (errno.ENFILE, OSError),
        (errno.ENOMEM, OSError),
    ],
)
def test_no_answer_about_its_pidfd_lets_it_in(
    number: int, raised: type[Exception], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(sock: socket.socket) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(admission, "certain_pidfd", fail)
    with pytest.raises(raised):
        admitted(listener)


@pytest.mark.parametrize("what", ["read", "root", None])
def test_what_cannot_be_looked_at_is_refused(what: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Admission()

    def fail(*_: object) -> object:
        raise OSError(errno.EACCES, "no")

    if isinstance(what, str):
        monkeypatch.setattr(View, what, fail)
    else:
        monkeypatch.setattr(admission, "View", fail)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(PermissionDenied, match="cannot look at it"):
        rules.admit(ours)


def test_confined_between_the_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Admission()
    looks = iter(["", "no_new_privs is set"])
    monkeypatch.setattr(admission.confinement, "reasons", lambda of, ours: tuple(filter(None, [next(looks)])))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(PermissionDenied, match="no_new_privs"):
        rules.admit(ours)


@pytest.mark.parametrize(
    ("label", "confines"),
    [
        ("unconfined", False),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023", False),
        ("system_u:system_r:unconfined_service_t:s0", False),
        ("user_u:user_r:user_t:s0", True),
        ("snap.firefox.firefox (enforce)", True),
        ("/usr/bin/evince (complain)", True),
        ("", True),
    ],
)
def test_labels_of_security_modules(label: str, confines: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert label_confines(label) is confines
    monkeypatch.setattr(admission, "peer_label", lambda sock: label)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        if confines:
            with pytest.raises(PermissionDenied, match="security module"):
                Admission().admit(ours)
        else:
            Admission().admit(ours)


def test_this_kernel_says_who_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sock: socket.socket) -> int:
        raise OSError(errno.ENOPROTOOPT, "no")

    assert usable()
    monkeypatch.setattr(admission, "certain_pidfd", fail)
    assert not usable()
