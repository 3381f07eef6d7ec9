"""How a listening daemon comes and goes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, run

import pytest

from tests.children import child
from tests.live.machine import free, until
from tests.worker.daemon import Peer, listening


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_end_lets_go_of_everything_and_says_why(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "socket"
    with (
        child() as one,
        child() as other,
        listening(path) as daemon,
        daemon.connect() as peer,
        daemon.connect() as more,
    ):
        engine = peer.call("engine.attach", pid=one, hold=True)["engine"]
        trace = more.call("trace.start", pid=other, backend="ptrace")["trace"]
        assert not free(one)
        assert daemon.stop(number) == 0
        assert [(event["kind"], event["reason"], event["engine"]) for event in peer.events()] == [
            ("detached", "daemon_stopping", engine)
        ]
        last = list(more.events())[-1]
        assert (last["kind"], last["reason"], last["trace"]) == ("detached", "daemon_stopping", trace)
        until(lambda: free(one) and free(other), "let go")
        os.kill(one, 0)
    assert not path.exists()
    assert daemon.said.splitlines() == [
        f"utraced: pid {daemon.pid} listens at {path}",
        "utraced: stopping: lets go of 2 threads",
        "utraced: stopped",
    ]


def test_what_a_client_has_not_read_yet_is_left_for_it(tmp_path: Path) -> None:
    with listening(tmp_path / "socket") as daemon, daemon.connect() as peer, daemon.connect() as other:
        peer.socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                peer.send("session.sync", token="x" * 190)
        while not any(entry["queued"] for entry in other.call("session.list")["sessions"]):
            pass
        daemon.process.send_signal(signal.SIGTERM)
        peer.socket.settimeout(30)
        told, answered = [], []
        while (packet := peer.next()) is not None:
            for message in packet if isinstance(packet, list) else [packet]:
                if "id" in message:
                    answered.append(message["id"])
                else:
                    told.append(message["params"]["seq"])
        assert told == answered == list(range(1, len(told) + 1))
        assert daemon.end() == 0


def test_a_hangup_that_was_set_aside_ends_nothing(tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with listening(tmp_path / "socket", preexec_fn=ignore) as daemon, daemon.connect() as peer:
        os.kill(daemon.pid, signal.SIGHUP)
        assert peer.call("daemon.hello")
        assert daemon.stop() == 0


def test_kill_leaves_a_stale_socket_that_the_next_replaces(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path) as daemon:
        daemon.stop(signal.SIGKILL)
    assert path.exists()
    with listening(path) as daemon, daemon.connect() as peer:
        assert peer.call("daemon.hello")


def test_a_second_daemon_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path) as daemon, daemon.connect() as peer:
        second = run([sys.executable, "-m", "utraced", "--socket", str(path)], stderr=PIPE, text=True, check=False)
        assert second.returncode == 1
        assert second.stderr == (
            f"utraced: somebody listens at {path} already (pid {daemon.pid}): use or stop that one, "
            "or choose another path\n"
        )
        assert peer.call("daemon.hello")
        with daemon.connect() as other:
            assert other.call("daemon.hello")


def test_a_file_that_is_another_s_by_now_is_left(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path) as daemon:
        path.unlink()
        with listening(path) as successor:
            assert daemon.stop() == 0
            with Peer(path) as peer:
                assert peer.call("daemon.hello")
            assert successor.stop() == 0
    assert not path.exists()


def test_the_service_manager_hears_of_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(str(tmp_path / "notify"))
        path = tmp_path / "socket"
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with listening(path, env=environment) as daemon:
            assert manager.recv(1000).decode() == f"READY=1\nSTATUS=Listening at {path}"
            with daemon.connect() as peer:
                peer.call("daemon.hello")
                assert manager.recv(1000).decode() == f"STATUS=Listening at {path}, 1 session"
            assert daemon.stop() == 0
            words = []
            while not words or not words[-1].startswith("STOPPING=1\nSTATUS="):
                words.append(manager.recv(1000).decode())
