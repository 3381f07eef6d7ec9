from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from utracectl import connect
from utracectl.connect import NotConnected, connect_socket, find_daemon, start_worker


def listener(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.bind(str(path))
    sock.listen()
    return sock


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three places of sockets, none of which is there."""
    monkeypatch.setattr(connect, "SYSTEM_SOCKET", str(tmp_path / "run" / "utraced.sock"))
    return {
        "asked": tmp_path / "asked.sock",
        "system": tmp_path / "run" / "utraced.sock",
        "user": tmp_path / "user" / "utraced" / "utraced.sock",
    }


def environment(places: dict[str, Path], *, asked: bool) -> dict[str, str]:
    found = {"XDG_RUNTIME_DIR": str(places["user"].parents[1])}
    return found | ({"UTRACED_SOCKET": str(places["asked"])} if asked else {})


@pytest.mark.parametrize(
    ("there", "asked", "taken"),
    [
        (["asked", "system", "user"], True, "asked"),
        (["asked", "system", "user"], False, "system"),
        (["user"], False, "user"),
    ],
)
def test_order(there: list[str], asked: bool, taken: str, places: dict[str, Path]) -> None:
    listeners = {name: listener(places[name]) for name in there}
    link = connect_socket(environment(places, asked=asked))
    assert link.worker is None
    with link.socket:
        assert link.socket.getpeername() == str(places[taken])
    for sock in listeners.values():
        sock.close()


def test_a_socket_asked_for_that_nobody_answers_is_an_error(places: dict[str, Path]) -> None:
    listener(places["asked"]).close()
    with (
        listener(places["system"]),
        pytest.raises(NotConnected, match=r"asked\.sock \(Connection refused\): start it, or unset UTRACED_SOCKET"),
    ):
        connect_socket(environment(places, asked=True))


def test_what_was_passed_over_is_told(places: dict[str, Path]) -> None:
    nobody = find_daemon(environment(places, asked=False))
    system, user = (f"{places[name]} (No such file or directory)" for name in ("system", "user"))
    assert nobody == (None, None, (system, user))
    with listener(places["user"]):
        link, path, passed = find_daemon(environment(places, asked=False))
    assert link is not None
    link.socket.close()
    assert (path, passed) == (str(places["user"]), (system,))


def test_a_name_too_long_for_a_socket(places: dict[str, Path]) -> None:
    with pytest.raises(NotConnected, match="AF_UNIX path too long"):
        connect_socket({"UTRACED_SOCKET": "/" + "x" * 200})


def test_where_nobody_answers_a_worker_is_started(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for python that tells how it was started.
    program = tmp_path / "python"
    program.write_text(
        '#!/bin/sh\nls -l /proc/self/fd/ >"$0.fds"; cat /proc/$$/stat >"$0.stat"\necho "$@" >"$0.words"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    (tmp_path / "utraced.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    link = connect_socket(environment(places, asked=False) | {"PATH": os.environ["PATH"]})
    assert link.worker is not None
    with link.socket:
        assert not link.socket.get_inheritable()
        assert os.waitpid(link.worker, 0)[1] == 0
        assert link.socket.recv(1) == b""
    words = (tmp_path / "python.words").read_text().split()
    assert words[:4] == ["-P", "-m", "utraced", "--connected"]
    fds = (tmp_path / "python.fds").read_text()
    assert "0 -> /dev/null" in fds
    assert f"{words[4]} -> 'socket:" in fds or f"{words[4]} -> socket:" in fds
    session = (tmp_path / "python.stat").read_text().rpartition(")")[2].split()[3]
    assert int(session) == link.worker != os.getsid(0)


def test_a_worker_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(NotConnected, match="cannot start a worker: /nowhere/python: No such file"):
        start_worker({})
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(NotConnected, match="does not know its own program"):
        start_worker({})


def test_a_relative_runtime_directory_is_not_looked_into(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with listener(places["user"]), pytest.raises(NotConnected, match="cannot start a worker"):
        connect_socket({"XDG_RUNTIME_DIR": "user"})
