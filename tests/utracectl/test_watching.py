from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.children import child
from tests.utracectl.conftest import ROOT
from tests.utracectl.server import Answer, Server, event, response

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[[Answer], Server]


def attached(request: dict[str, Any], engine: int) -> dict[str, Any]:
    return response(request, {"engine": engine, "pid": request["params"]["pid"], "start_time": 1, "threads": []})


def detached(engine: int, reason: str = "target_exited") -> dict[str, Any]:
    return event(kind="detached", engine=engine, reason=reason)


@contextmanager
def events(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Give a running ``utracectl events``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "utracectl", "events", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def socket(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


def kinds(out: bytes) -> list[tuple[str, int]]:
    return [(each["kind"], each["engine"]) for each in map(json.loads, out.splitlines())]


def test_until_all_have_ended(serve: Serve, utracectl: Run) -> None:
    clone = event(kind="clone", engine=1, how="fork", child_pid=9, child_tid=9, child_engine=7)

    def answer(request: dict[str, Any]) -> list[Any]:
        if request["params"]["pid"] == 5:
            # The reply comes first; the child is followed though its parent has ended.
            return [attached(request, 1), [clone, detached(1)]]
        return [attached(request, 2), detached(2), event(kind="later", engine=7), detached(7)]

    server = serve(answer)
    done = utracectl("events", "-f", "5", "6", "5")
    assert (done.returncode, done.stderr) == (0, b"")
    assert kinds(done.stdout) == [("clone", 1), ("detached", 1), ("detached", 2), ("later", 7), ("detached", 7)]
    assert [request["params"]["pid"] for request in server.requests] == [5, 6]
    assert server.requests[0]["params"]["follow"] is True
    assert "hold" not in server.requests[0]["params"]


def test_all_events_or_those_asked_for(serve: Serve, utracectl: Run) -> None:
    server = serve(lambda request: [attached(request, 1), detached(1)])
    utracectl("events", "5")
    utracectl("events", "5", "--events", "exec,death exec")
    assert set(server.requests[0]["params"]["events"]) >= {"signal", "syscall_entry", "job_control"}
    assert server.requests[1]["params"]["events"] == ["exec", "death"]


def test_who_refuses_is_told_and_the_others_go_on(serve: Serve, utracectl: Run) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        if request["params"]["pid"] == 5:
            error = {"code": -32002, "message": "no 5", "data": {"kind": "no_such_process", "hint": "Look."}}
            return [{"jsonrpc": "2.0", "id": request["id"], "error": error}]
        return [attached(request, 1), detached(1)]

    serve(answer)
    done = utracectl("events", "5", "6")
    assert (done.returncode, done.stderr) == (1, b"utracectl: no 5: Look.\n")
    assert kinds(done.stdout) == [("detached", 1)]


def test_a_daemon_that_dies(serve: Serve, utracectl: Run) -> None:
    answers: list[bool] = []

    def answer(request: dict[str, Any]) -> list[Any] | None:
        answers.append(True)
        return [attached(request, 1), event(kind="exec", engine=1, former_tid=5)] if len(answers) == 1 else None

    serve(answer)
    done = utracectl("events", "5", "6")
    assert done.returncode == 1
    assert done.stderr == b"utracectl: the worker hung up: the events end here\n"
    assert kinds(done.stdout) == [("exec", 1)]


def test_a_daemon_that_dies_before_anything(serve: Serve, utracectl: Run) -> None:
    serve(lambda request: None)
    done = utracectl("events", "5")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"utracectl: the worker hung up\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_all_there_is_to_tell(number: int, serve: Serve, socket: str) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "engine.attach":
            return [attached(request, request["params"]["pid"]), event(kind="exec", engine=5, former_tid=5)]
        engine = request["params"]["engine"]
        if engine == 5:
            error = {"code": -32005, "message": "over", "data": {"kind": "gone"}}
            return [detached(5), {"jsonrpc": "2.0", "id": request["id"], "error": error}]
        return [detached(engine, "client_request"), response(request, {})]

    server = serve(answer)
    with events("5", "6", UTRACED_SOCKET=socket) as process:
        assert process.stdout is not None
        first = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(number)
        rest, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert kinds(b"".join(first)) == [("exec", 5)] * 2
    assert sorted(kinds(rest)) == [("detached", 5), ("detached", 6)]
    assert sorted(each["params"]["engine"] for each in server.requests[2:]) == [5, 6]


def test_a_reader_that_goes_ends_it(serve: Serve, socket: str) -> None:
    serve(lambda request: [attached(request, 1), event(kind="exec", engine=1, former_tid=5)])
    with events("5", UTRACED_SOCKET=socket) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_full_disk_is_told(serve: Serve, socket: str) -> None:
    serve(lambda request: [attached(request, 1), event(kind="exec", engine=1, former_tid=5)])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "utracectl", "events", "5"],
            stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": socket},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == b"utracectl: cannot write to stdout (No space left on device): the output ends here\n"


def test_of_real_processes(tmp_path: Path) -> None:
    with child() as pid, events(str(pid), UTRACED_SOCKET="", XDG_RUNTIME_DIR=str(tmp_path)) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "syscall_entry"
        os.kill(pid, signal.SIGUSR1)
        out, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    told = [each["kind"] for each in map(json.loads, out.splitlines())]
    assert told[-3:] == ["exit", "death", "detached"] or told[-2:] == ["death", "detached"]
    assert "signal" in told
