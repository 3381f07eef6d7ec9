from __future__ import annotations

import os
import pwd
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.broker.system import System, system
from tests.children import NOBODY, as_user, libc, needs_root, own_program
from tests.children import child as process
from tests.live.machine import tracer, wait_end
from tests.worker.daemon import Daemon, Peer, activated
from utraced.broker.forwarding import identity_of
from utraced.linux.identity import Identity
from utraced.linux.listening import CannotListen

USER = "nobody"
GUEST = 3021


@contextmanager
def handed_on(found: System, name: str) -> Iterator[tuple[str, Daemon]]:
    """Give the address of a socket whose connections trace as USER, and the process that hands them on."""
    folder = found.folder / "as"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    path = folder / f"{USER}.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(path))
        path.chmod(0o666)
        sock.listen()
        with activated({name: sock}, "--as", USER, ready=False) as daemon:
            assert "hands on who connects" in daemon.says(), daemon.said
            yield str(path), daemon


def call(address: str, method: str, **params: Any) -> Any:
    with Peer(address) as peer:
        return peer.call(method, **params)


@needs_root
def test_a_guest_traces_as_the_user() -> None:
    with system() as found, handed_on(found, "full") as (address, _), process(lambda: own_program(NOBODY)) as target:
        welcome = as_user(lambda: call(address, "daemon.hello"), GUEST)
        assert (welcome["peer"]["uid"], welcome["target_user"], welcome["access"]) == (GUEST, USER, "full")

        def attach() -> int:
            with Peer(address) as peer:
                peer.call("engine.attach", pid=target)
                return tracer(target)

        # One worker for the user himself and for all who trace as he: so they can share a process.
        worker = found.call_as(NOBODY, "daemon.hello")["tracer_pid"]
        assert as_user(attach, GUEST) == worker


@needs_root
def test_an_observer_only_looks() -> None:
    with system() as found, handed_on(found, "observe") as (address, _), process(lambda: own_program(NOBODY)) as target:

        def look() -> tuple[str, int, Any]:
            with Peer(address) as peer:
                access = peer.call("daemon.hello")["access"]
                seen = peer.call("process.info", pid=target)["pid"]
                peer.send("engine.attach", pid=target)
                return access, seen, peer.next()["error"]

        access, seen, error = as_user(look, GUEST)
        assert (access, seen) == ("observe", target)
        assert (error["code"], error["data"]["reason"]) == (-32001, "read_only_session")
        assert tracer(target) == 0


@needs_root
def test_a_confined_guest_is_refused() -> None:
    with system() as found, handed_on(found, "full") as (address, _):

        def confined() -> Any:
            libc().prctl(38, 1, 0, 0, 0)
            with Peer(address) as peer:
                peer.send("daemon.hello")
                return peer.next()["error"]["data"]["confined"]

        assert as_user(confined, GUEST) == ["no_new_privs is set"]


@needs_root
def test_it_finds_the_next_broker() -> None:
    with system() as found, handed_on(found, "full") as (address, _):
        assert call(address, "daemon.hello")
        os.kill(found.pid, signal.SIGKILL)
        wait_end(found.pid)
        with Peer(address) as waiting:
            waiting.send("daemon.hello")
            Path(found.address).unlink()
            (found.folder / "as.sock").unlink()
            with system(at=found.folder):
                assert waiting.next()["result"]["target_user"] == USER


@needs_root
def test_only_root_hands_on() -> None:
    with system() as found:
        path = str(found.folder / "as.sock")
        assert os.stat(path).st_mode & 0o777 == 0o600

        def connect() -> None:
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(path)

        with pytest.raises(AssertionError, match="PermissionError"):
            as_user(connect, GUEST)


@needs_root
@pytest.mark.parametrize("data", [b"?", b"\x81\xa4type\xa4idle", b"\x80"])
def test_what_is_no_hand_over_is_hung_up_on(data: bytes) -> None:
    with system() as found:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(30)
            sock.connect(str(found.folder / "as.sock"))
            sock.send(data)
            assert sock.recv(1) == b""
        assert found.call("daemon.hello")


def test_who_the_user_is() -> None:
    entry = pwd.getpwnam(USER)
    groups = sorted(set(os.getgrouplist(USER, entry.pw_gid)) - {entry.pw_gid})
    assert identity_of(USER) == Identity(entry.pw_uid, entry.pw_gid, tuple(groups), 0)
    with pytest.raises(CannotListen, match="no user 'nobody-is-called-this'"):
        identity_of("nobody-is-called-this")
    with pytest.raises(CannotListen, match="root alone"):
        identity_of("root")
