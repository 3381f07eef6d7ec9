from __future__ import annotations

import codecs
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.children import NOBODY, as_user, fork, isolated, needs_root, own_program
from tests.worker.daemon import Daemon, Peer, activated, address_of, listener, listening
from utraced.configuration import Limits
from utraced.handlers.limits import MAX_WAITING
from utraced.linux.listening import Inherited
from utraced.linux.systemd import Notifier
from utraced.worker import listen
from utraced.worker.serve import serve_listening

CROWD = 600
HELLO = b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}'


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon at an abstract address, which the file system keeps nobody from."""
    with listener("shared") as sock, activated({"all": sock}) as daemon:
        yield daemon


def answers(address: str, *packets: bytes) -> list[Any]:
    """Return what is answered until the end of the stream."""
    with Peer(address) as peer:
        for packet in packets:
            peer.socket.send(packet)
        found = []
        while (answer := peer.next()) is not None:
            found.append(answer)
        return found


def test_each_connection_is_a_session_of_its_own(daemon: Daemon) -> None:
    with daemon.connect() as one, daemon.connect() as other:
        numbers = [peer.call("daemon.hello")["session"] for peer in (one, other, one)]
    assert numbers[0] == numbers[2] != numbers[1]


def test_peers_are_told_who_the_kernel_says_they_are(daemon: Daemon) -> None:
    with daemon.connect() as peer:
        assert peer.call("daemon.hello")["peer"]["pid"] == os.getpid()


def test_a_newcomer_does_not_wait_behind_a_process_with_many_connections() -> None:
    """All have connected before the daemon begins: sessions are numbered in the order in which they are served."""
    with listener("crowded") as sock:
        address, (ready, say) = address_of(sock), os.pipe()
        crowd = fork()
        if crowd == 0:
            try:
                peers = [Peer(address) for _ in range(CROWD)]
                for peer in peers:
                    peer.socket.send(HELLO)
                os.write(say, b"!")
                signal.pause()
            finally:
                os._exit(1)
        os.close(say)
        try:
            assert os.read(ready, 1) == b"!"
            with Peer(address) as peer, activated({"all": sock}):
                assert peer.call("daemon.hello")["session"] < CROWD // 2
        finally:
            os.close(ready)
            os.kill(crowd, signal.SIGKILL)
            os.waitpid(crowd, 0)


def test_who_has_left_is_no_session_unless_he_has_said_something() -> None:
    with listener("left") as sock:
        address = address_of(sock)
        for packet in (b"", HELLO, b""):
            with Peer(address) as peer:
                if packet:
                    peer.socket.send(packet)
        with activated({"all": sock}) as daemon, daemon.connect() as peer:
            assert peer.call("daemon.hello")["session"] == 2


def test_the_limits_of_sessions_are_told(daemon: Daemon) -> None:
    with daemon.connect() as peer:
        limits = peer.call("daemon.hello")["limits"]
    assert limits["stall_seconds"] == 30
    assert limits["max_waiting"] == MAX_WAITING
    assert limits["max_sessions"] >= 1000


def test_the_limits_are_those_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "toml"
    file.write_text(f"[limits]\nsessions = 1\ntracees = 1\n[limits.user.{os.geteuid()}]\nsessions = 2\n")
    with (
        listener("limited") as sock,
        activated({"all": sock}, "--config", str(file)) as daemon,
        daemon.connect() as one,
        daemon.connect(),
    ):
        limits = one.call("daemon.hello")["limits"]
        assert (limits["max_sessions"], limits["max_tracees"]) == (2, 1)
        [answer] = answers(daemon.address, HELLO)
    assert answer["error"]["data"]["limit"] == "sessions"


@needs_root
@pytest.mark.parametrize(("uid", "gid"), [(NOBODY, 0), (0, NOBODY), (NOBODY, NOBODY)])
def test_others_are_refused_with_the_reason(daemon: Daemon, uid: int, gid: int) -> None:
    [answer] = as_user(lambda: answers(daemon.address, HELLO), uid, gid)
    assert answer["id"] == 1
    assert answer["error"]["code"] == -32001
    assert answer["error"]["data"]["kind"] == "permission_denied"
    assert answer["error"]["data"]["reason"] == "policy"
    assert str(uid) in answer["error"]["message"]
    assert "utracectl" in answer["error"]["data"]["hint"]


@needs_root
def test_a_batch_of_others_is_answered_as_a_batch(daemon: Daemon) -> None:
    batch = b"[%s,%s,7]" % (HELLO, HELLO.replace(b"1,", b"2,"))
    [answer] = as_user(lambda: answers(daemon.address, batch))
    assert [member["error"]["code"] for member in answer] == [-32001, -32001, -32600]


@needs_root
@pytest.mark.parametrize(
    ("packet", "code"), [(b"{", -32700), (b"7", -32600), (b"[]", -32600), (b"x" * 300_000, -32009)]
)
def test_garbage_of_others_is_answered_as_such(daemon: Daemon, packet: bytes, code: int) -> None:
    def speak() -> list[Any]:
        with Peer(daemon.address) as peer:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            peer.socket.send(packet)
            return [peer.next(), peer.next()]

    answer, end = as_user(speak)
    assert answer["error"]["code"] == code
    assert end is None


@needs_root
def test_only_the_first_packet_of_others_is_answered(daemon: Daemon) -> None:
    def speak() -> list[Any]:
        with Peer(daemon.address) as peer:
            with suppress(BrokenPipeError):
                while True:
                    peer.socket.send(HELLO)
            return [peer.next(), peer.next()]

    answer, end = as_user(speak)
    assert answer["error"]["code"] == -32001
    assert end is None


@needs_root
def test_what_others_pass_is_closed(daemon: Daemon) -> None:
    def speak() -> bytes:
        reading, writing = os.pipe()
        with Peer(daemon.address) as peer:
            peer.send("daemon.hello", fds=[writing])
            os.close(writing)
            peer.next()
        return os.read(reading, 1)

    assert as_user(speak) == b""


@needs_root
def test_silent_others_take_nobody_s_place(daemon: Daemon) -> None:
    def crowd() -> list[Any]:
        peers = [Peer(daemon.address) for _ in range(listen.REFUSED_AT_ONCE + 20)]
        found = [peer.next() for peer in peers[listen.REFUSED_AT_ONCE :]]
        for peer in peers:
            peer.socket.close()
        return found

    assert as_user(crowd) == [None] * 20
    with daemon.connect() as peer:
        assert peer.call("daemon.hello")


@needs_root
def test_refused_peers_are_logged() -> None:
    with listener("logged") as sock, activated({"front": sock}) as daemon:
        as_user(lambda: answers(daemon.address, HELLO))
        line = daemon.audits()
    assert line["action"] == "refusal"
    assert line["peer"]["uid"] == NOBODY
    assert (line["method"], line["reason"]) == ("connect", "policy")


def test_a_client_that_dies_ends_its_session_though_a_child_keeps_the_socket(daemon: Daemon) -> None:
    reading, writing = os.pipe()

    def connect() -> int:
        peer = Peer(daemon.address)
        number = peer.call("daemon.hello")["session"]
        if fork() == 0:
            os.close(writing)
            os.read(reading, 1)  # until the test ends
            os._exit(0)
        return int(number)

    number = isolated(connect)
    with daemon.connect() as peer:
        while any(entry["session"] == number for entry in peer.call("session.list")["sessions"]):
            pass
    os.close(writing)
    os.close(reading)


def test_several_sockets_lead_to_one_worker() -> None:
    with listener("a") as one, listener("b") as other, activated({"a": one, "b": other}) as daemon:
        assert daemon.said.endswith("listens at a, b\n")
        for number, sock in enumerate((one, other), 1):
            with Peer(address_of(sock)) as peer:
                assert peer.call("daemon.hello")["session"] == number


def test_a_socket_of_ours_beside_those_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "own"
    with listener("c") as sock, activated({"c": sock}, "--socket", str(path)) as daemon:
        with Peer(path) as own:
            assert own.call("daemon.hello")["session"] == 1
        with daemon.connect() as passed:
            assert passed.call("daemon.hello")["session"] == 2
        assert daemon.stop() == 0
    assert not path.exists()


@needs_root
def test_a_daemon_serves_its_own_user_and_not_root() -> None:
    with listener("user") as sock:
        address = address_of(sock)
        pid = fork()
        if pid == 0:
            try:
                # Forked, and what it will import loaded, as the interpreter may be where only root can read it.
                codecs.lookup("ascii")
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                own_program(NOBODY)
                serve_listening([Inherited(os.dup(sock.fileno()), "user")], Notifier({}), Limits(), lambda: None)
            finally:
                os._exit(0)
        try:
            [refusal] = answers(address, HELLO)
            assert refusal["error"]["data"]["reason"] == "policy"
            assert as_user(lambda: Peer(address).call("daemon.hello")["target_user"]) == "nobody"
        finally:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def test_without_descriptors_the_service_goes_on() -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    with listener("few") as sock, activated({"few": sock}, prepare=few) as daemon, daemon.connect() as first:
        assert first.call("daemon.hello")["session"] == 1
        peers = [daemon.connect() for _ in range(30)]
        for peer in peers:
            peer.send("daemon.hello")
        assert "cannot take more connections for now: Too many open files" in daemon.says()
        for _ in range(100):
            assert first.call("daemon.hello")["session"] == 1
        served = []
        for peer in peers:  # each that closes makes room for one that waits
            served.append(peer.next()["result"]["session"])
            peer.socket.close()
        assert served == list(range(2, 32))
        assert first.call("daemon.hello")["session"] == 1


def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path) as daemon:
        assert path.stat().st_mode & 0o7777 == 0o600
        assert daemon.stop() == 0
        assert not path.exists()
