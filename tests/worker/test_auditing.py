"""What a listening daemon writes of what its clients do."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.system import system
from tests.children import NOBODY, child, ended, isolated, needs_root
from tests.worker.daemon import Daemon, activated, listener, listening
from tests.worker.embedded import embedded
from utraced.linux.prctl import no_new_privs


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with listening(tmp_path / "socket") as daemon:
        yield daemon


def refused(peer: Any, method: str, **params: Any) -> str:
    number = peer.send(method, **params)
    answer = peer.next()
    assert answer["id"] == number
    return str(answer["error"]["data"]["kind"])


def test_what_a_client_does_is_written(daemon: Daemon) -> None:
    me = {
        "pid": os.getpid(),
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "comm": Path("/proc/self/comm").read_text()[:-1],
    }
    with child() as pid:
        with daemon.connect() as peer:
            attached = peer.call("engine.attach", pid=pid)
            peer.call("trace.start", pid=pid, backend="ptrace")
            assert refused(peer, "engine.attach", pid=os.getpid()) == "permission_denied"
            assert refused(peer, "engine.attach", pid=ended()) == "no_such_process"
        told = [daemon.audits() for _ in range(5)]
    for line in told:
        assert line["peer"] == me
        assert (line["session"], line["user"], line["access"]) == (1, pwd.getpwuid(os.geteuid()).pw_name, "full")
    assert [line["action"] for line in told] == ["connect", "attach", "trace", "refusal", "end"]
    assert told[1]["target"] == told[2]["target"] == {"pid": pid, "start_time": attached["start_time"]}
    assert (told[3]["reason"], told[3]["target"]) == ("would_deadlock", {"pid": os.getpid()})
    assert told[4]["reason"] == "session_closed"


def test_the_end_of_the_daemon_is_the_end_of_its_sessions(daemon: Daemon) -> None:
    with daemon.connect() as peer:
        peer.call("daemon.hello")
        assert daemon.stop() == 0
    assert [line["action"] for line in daemon.trail] == ["connect", "end"]
    assert daemon.trail[1]["reason"] == "daemon_stopping"


def test_a_flood_of_refusals_is_written_in_few_lines(daemon: Daemon) -> None:
    with daemon.connect() as peer:
        for _ in range(1000):
            assert refused(peer, "engine.attach", pid=os.getpid()) == "permission_denied"
    while (line := daemon.audits())["action"] != "end":
        pass
    assert sum(line["action"] == "refusal" for line in daemon.trail) < 100
    assert (
        sum(line["action"] == "refusal" for line in daemon.trail) + sum(line.get("missing", 0) for line in daemon.trail)
        == 1000
    )
    assert line.get("missing", 0) > 0


def test_a_limit_is_written(tmp_path: Path) -> None:
    (tmp_path / "toml").write_text("limits.tracees = 1\nlimits.sessions = 1\n")
    with listener("audited") as sock, activated({"a": sock}, "--config", str(tmp_path / "toml")) as daemon:
        with child() as one, child() as other, daemon.connect() as peer:
            peer.call("engine.attach", pid=one)
            assert refused(peer, "trace.start", pid=other, backend="ptrace") == "limit_exceeded"
            with daemon.connect() as second:
                assert refused(second, "daemon.hello") == "limit_exceeded"
        told = [daemon.audits() for _ in range(5)]
    assert [line["action"] for line in told] == ["connect", "attach", "limit", "limit", "end"]
    assert (told[2]["limit"], told[2]["value"], told[2]["method"], told[2]["target"]) == (
        "tracees",
        1,
        "trace.start",
        {"pid": other},
    )
    assert (told[3]["limit"], told[3]["method"]) == ("sessions", "connect")
    assert "session" not in told[3]


def test_a_daemon_whose_stderr_nobody_reads_goes_on(daemon: Daemon) -> None:
    for _ in range(600):  # more lines than a pipe takes
        with daemon.connect() as peer:
            assert peer.call("daemon.hello")


@needs_root
def test_the_system_s_daemon_writes_of_all_users_and_of_whom_it_refuses() -> None:
    with system() as found:
        found.call_as(NOBODY, "daemon.hello")
        connected, ended_ = found.daemon.audits(), found.daemon.audits()
        isolated(lambda: found.refusal(no_new_privs))
        refusal = found.daemon.audits()
    assert [line["action"] for line in (connected, ended_, refusal)] == ["connect", "end", "refusal"]
    assert connected["peer"]["uid"] == NOBODY
    assert (connected["user"], connected["access"]) == (pwd.getpwuid(NOBODY).pw_name, "full")
    assert (refusal["method"], refusal["reason"]) == ("connect", "policy")
    assert refusal["peer"]["uid"] == 0
    assert "user" not in refusal


def test_an_embedded_worker_writes_nothing() -> None:
    reading, writing = os.pipe()
    with embedded(lambda: os.dup2(writing, 2)) as wire:
        os.close(writing)
        assert wire.ask(1, "engine.attach", pid=os.getpid())["error"]
    with open(reading, "rb") as file:
        assert file.read() == b""
