import os
import socket

import pytest

from tests.children import fork, needs_root
from utraced.linux.credentials import peer, peer_groups, peer_pidfd
from utraced.linux.pidfd import alive, pid_of
from utraced.model import Peer


@pytest.fixture
def listener():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind("")
        sock.listen()
        yield sock


def connected(listener, prepare=lambda: None):
    """Return the accepted socket of a child's connection, and the pid of the child, which has ended."""
    name = listener.getsockname()
    pid = fork()
    if pid == 0:
        try:
            prepare()
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(name)
        finally:
            os._exit(0)
    sock, _ = listener.accept()
    os.waitpid(pid, 0)
    return sock, pid


def test_a_socketpair_is_of_its_maker():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        assert peer(left) == Peer(
            pid=os.getpid(), uid=os.getuid(), gid=os.getgid(), groups=tuple(sorted(os.getgroups()))
        )
        pidfd = peer_pidfd(left)
        assert pid_of(pidfd) == os.getpid()
        assert alive(pidfd)
        assert not os.get_inheritable(pidfd)
        os.close(pidfd)


@needs_root
def test_the_kernel_tells_user_and_groups_as_of_connect(listener):
    def prepare():
        os.setgroups([7, 8])
        os.setresgid(2000, 2000, 2000)
        os.setresuid(1000, 1000, 1000)

    sock, pid = connected(listener, prepare)
    with sock:
        assert peer(sock) == Peer(pid=pid, uid=1000, gid=2000, groups=(7, 8))


@needs_root
def test_more_groups_than_python_has_room_for(listener):
    groups = list(range(5000, 5700))
    sock, _ = connected(listener, lambda: os.setgroups(groups))
    with sock:
        assert peer_groups(sock) == tuple(groups)


def test_a_peer_that_has_ended_is_never_another(listener):
    sock, _ = connected(listener)
    with sock:
        try:
            pidfd = peer_pidfd(sock)
        except ProcessLookupError:
            return
        assert not alive(pidfd)
        os.close(pidfd)


def test_other_sockets_have_no_peer():
    with socket.socket(socket.AF_INET) as sock, pytest.raises(OSError, match=r".") as told:
        peer_groups(sock)
    assert told.value.errno
