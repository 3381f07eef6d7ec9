"""Who may hand connections on, and for whom: else whoever is user 0 by number would be any user, and root."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.broker.system import System, connected
from tests.children import fork, isolated, libc, needs_root
from tests.live.machine import PATIENCE, status
from tests.worker.daemon import Peer
from utraced.linux import handing
from utraced.linux.capabilities import CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE, drop_bounding, set_capabilities
from utraced.linux.handing import HandOn
from utraced.linux.identity import Identity

pytestmark = needs_root

ALL = int(status(os.getpid()).get("CapPrm", "0"), 16)
ADA = 3121
HELLO = b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}'


def handed_on(found: System, identity: Identity, prepare: Callable[[], object] = lambda: None) -> bytes:
    """Return what is answered to a connection that a process of root's hands on after ``prepare``, b"" for nothing."""

    def attempt() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind("")
            listener.listen()
            pid = fork()
            if pid == 0:
                try:
                    prepare()
                    sock, _ = listener.accept()
                    with connected(str(found.folder / "as.sock")) as channel:
                        handing.send(channel, HandOn("here", "full", identity), [sock.fileno()])
                        sock.close()
                        # Until the broker has taken it, or hung up.
                        channel.shutdown(socket.SHUT_WR)
                        channel.recv(1)
                finally:
                    os._exit(0)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.settimeout(PATIENCE)
                client.connect(listener.getsockname())
                listener.close()
                answer = b""
                with suppress(ConnectionError):
                    client.send(HELLO)
                    answer = client.recv(1 << 17)
            os.waitpid(pid, 0)
            return answer

    return isolated(attempt)


def test_who_can_be_every_user_hands_on(daemon: System) -> None:
    answer = handed_on(daemon, Identity(ADA, ADA), lambda: set_capabilities(CAP_SETUID | CAP_SETGID))
    assert b'"target_user":"%d"' % ADA in answer


@pytest.mark.parametrize("mask", [0, CAP_SETUID, CAP_SYS_PTRACE, ALL & ~CAP_SETGID])
def test_user_0_without_that_power_does_not(mask: int, daemon: System) -> None:
    assert handed_on(daemon, Identity(ADA, ADA), lambda: set_capabilities(mask)) == b""


@pytest.mark.parametrize("identity", [Identity(0, 0), Identity(0, 0, (), ALL), Identity(ADA, ADA, (), CAP_SYS_PTRACE)])
def test_nobody_hands_on_to_root_nor_to_power(identity: Identity, daemon: System) -> None:
    assert handed_on(daemon, identity) == b""


def test_root_of_another_namespace_does_not(daemon: System) -> None:
    def enter() -> None:
        if libc().unshare(0x2000_0000):  # CLONE_NEWPID: of children
            raise OSError("unshare")

    def in_a_container() -> None:
        enter()
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            os._exit(0)

    assert handed_on(daemon, Identity(ADA, ADA), in_a_container) == b""


@pytest.mark.parametrize("what", ["file", "pipe", "nothing", "datagram", "listening", "many"])
def test_what_is_no_connection_hurts_nobody(what: str, daemon: System) -> None:
    reading, writing = os.pipe()
    datagram, listening = (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    )
    with datagram, listening, connected(str(daemon.folder / "as.sock")) as channel, open("/dev/null") as file:
        listening.bind("")
        listening.listen()
        fds = {
            "file": [file.fileno()],
            "pipe": [reading],
            "nothing": [],
            "datagram": [datagram.fileno()],
            "listening": [listening.fileno()],
            "many": [reading] * 16,
        }[what]
        handing.send(channel, HandOn("here", "full", Identity(ADA, ADA)), fds)
        assert daemon.call("daemon.hello")
    os.close(reading)
    os.close(writing)


def test_root_without_power_gains_none_by_its_own_connection(daemon: System) -> None:
    """A worker of user 0 has what its peer has; nor does a later peer with more find that worker."""

    def bare() -> Any:
        drop_bounding(0)
        set_capabilities(0)
        with Peer(daemon.address) as peer:
            pid = int(peer.call("daemon.hello")["tracer_pid"])
            target = peer.send("engine.attach", pid=victim)
            answer = peer.next()
            assert answer["id"] == target
            return {name: value for name, value in status(pid).items() if name.startswith("Cap")}, answer["error"]

    victim = os.getpid()
    capabilities, error = isolated(bare)
    assert {int(value, 16) for value in capabilities.values()} == {0}
    assert error["data"]["reason"] in {"capabilities", "missing_capability"}
