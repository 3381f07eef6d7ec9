from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.utracectl.conftest import ROOT
from tests.utracectl.server import HELLO, Answer, Server, event, response
from utracectl.trace_run import MUCH

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[[Answer], Server]
LINE = "getppid()                               = 1\n"
EXITED = "+++ exited with 0 +++\n"


def getppid(pid: int, tid: int | None = None) -> dict[str, Any]:
    return event(
        kind="syscall", seq=1, time_ns=1, pid=pid, tid=tid or pid, trace=1, arch="x86_64", nr=110, name="getppid",
        args=["0x0"] * 6, pc="0x1", sp="0x2", start_ns=1, **{"return": 1},
    )  # fmt: skip


def ends(pid: int, reason: str = "target_exited", trace: int = 1) -> list[dict[str, Any]]:
    return [
        event(kind="death", pid=pid, tid=pid, trace=trace, status={"code": 0}, last=True),
        event(kind="detached", pid=pid, trace=trace, reason=reason, delivered=1, lost=0),
    ]


def tracer(*, hang_up: bool = False, backend: str = "ptrace", reason: str | None = None) -> Answer:
    """Return a daemon that sees a single call of each process."""

    def answer(request: dict[str, Any]) -> list[Any] | None:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        assert request["method"] == "trace.start"
        pid = request["params"]["pid"]
        reply = response(request, {"trace": 1, "backend": backend, "reason": reason})
        return [reply, getppid(pid)] if hang_up else [reply, [getppid(pid), *ends(pid)]]

    return answer


@contextmanager
def attached(pid: int, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a utracectl that traces a process, and has said so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "utracectl", "trace", "-p", str(pid)],
        stderr=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket")},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert process.stderr.readline().decode().startswith(f"utracectl: Process {pid} attached")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_command(serve: Serve, utracectl: Run) -> None:
    server = serve(tracer())
    done = utracectl("trace", "sh", "-c", "echo out; exit 7")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (7, b"out\n", LINE + EXITED)
    start = server.requests[1]["params"]
    assert start.pop("pid") > 0
    assert start == {"from_exec": True, "overflow": "block", "entries": True, "deliver": "raw"}


@pytest.mark.parametrize("option", [None, "-q", "--json"])
def test_what_a_filter_costs_is_said_also_where_the_text_goes_to_a_file(
    option: str | None, serve: Serve, utracectl: Run, tmp_path: Path
) -> None:
    serve(tracer(backend="seccomp", reason="it cannot be removed"))
    output = tmp_path / "trace.txt"
    words = [] if option is None else [option]
    done = utracectl("trace", "--backend", "seccomp", "-f", *words, "-o", str(output), "true")
    assert done.stderr.decode() == ("" if words else "utracectl: the backend is seccomp: it cannot be removed\n")


@pytest.mark.parametrize("words", [["true"], ["-f", "-p", "1"], ["-f", "-p", "1", "true"]])
def test_a_filter_is_for_a_command_and_its_children(words: list[str], utracectl: Run) -> None:
    done = utracectl("trace", "--backend", "seccomp", *words)
    assert done.returncode == 2
    assert b"--backend seccomp is for a command and all its children" in done.stderr


def test_options_reach_the_daemon(serve: Serve, utracectl: Run) -> None:
    server = serve(tracer())
    words = [
        "-f",
        "-s",
        "5",
        "-e",
        "trace=!%file,read",
        "-Z",
        "--path-prefix",
        "/etc",
        "--backend",
        "ptrace",
        "-qq",
        "--",
        "true",
    ]
    done = utracectl("trace", *words)
    assert (done.returncode, done.stderr.decode()) == (0, LINE)
    start = server.requests[1]["params"]
    assert start["follow"] is start["failed_only"] is True
    assert (start["strings"], start["backend"], start["path_prefix"]) == (5, "ptrace", "/etc")
    assert start["syscalls"] == {"set": "all", "remove": ["%file", "read"]}


def test_output_to_a_file(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    server = serve(tracer())
    done = utracectl("trace", "-f", "-o", "out.txt", "--", "sh", "-c", "exit 3")
    pid = server.requests[1]["params"]["pid"]
    assert (done.returncode, done.stderr) == (3, b"")
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert lines == [f"{pid:<5} getppid()".ljust(39) + " = 1", f"{pid:<5} +++ exited with 0 +++"]


def test_json(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    server = serve(tracer())
    assert utracectl("trace", "--json", "-o", "out.json", "true").returncode == 0
    pid = server.requests[1]["params"]["pid"]
    events = [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()]
    assert events == [getppid(pid)["params"], *(one["params"] for one in ends(pid))]


def test_death_by_a_signal_is_our_death(serve: Serve, utracectl: Run) -> None:
    serve(tracer())
    assert utracectl("trace", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_an_execve_that_fails_is_told(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    serve(tracer())
    (tmp_path / "script").write_text("echo")
    (tmp_path / "script").chmod(0o755)
    done = utracectl("trace", "./script")
    assert done.returncode == 126
    assert done.stderr.decode().endswith(
        "utracectl: ./script: cannot be executed: Exec format error: a script without a #! line runs as: sh FILE\n"
    )


def test_a_refused_trace_never_lets_the_command_execute(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    def refuse(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        data = {"kind": "permission_denied", "reason": "policy", "hint": "Ask."}
        return [{"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32001, "message": "no", "data": data}}]

    serve(refuse)
    done = utracectl("trace", "touch", "executed")
    assert (done.returncode, done.stderr) == (1, b"utracectl: no: Ask.\n")
    assert not (tmp_path / "executed").exists()


def test_a_daemon_that_dies_at_the_gate(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    serve(lambda request: [response(request, HELLO)] if request["method"] == "daemon.hello" else None)
    done = utracectl("trace", "touch", "executed")
    assert (done.returncode, done.stderr) == (1, b"utracectl: the worker hung up\n")
    assert not (tmp_path / "executed").exists()


def test_a_daemon_that_dies_later_leaves_the_command(utracectl: Run, tmp_path: Path, serve: Serve) -> None:
    hello = [HELLO]

    def answer(request: dict[str, Any]) -> list[Any] | None:
        if hello:
            return [response(request, hello.pop())]
        pid = request["params"]["pid"]
        return [response(request, {"trace": 1, "backend": "ptrace"}), getppid(pid), event(kind="hang_up")]

    server = serve(answer)
    (tmp_path / "script").write_text("#!/bin/sh\nread line\nexit 9\n")
    (tmp_path / "script").chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "utracectl", "trace", "./script"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket")},
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().decode() == LINE
    server.hang_up()
    assert process.stderr.readline() == (
        b"utracectl: the worker hung up: the trace is incomplete, the command runs on untraced\n"
    )
    _, rest = process.communicate(b"\n", timeout=60)
    assert (process.returncode, rest) == (9, b"")


def test_nothing_to_write_to_ends_the_trace_and_not_the_command(serve: Serve, utracectl: Run) -> None:
    stops = []

    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "trace.stop":
            stops.append(request["params"])
            return [
                event(kind="detached", trace=1, reason="client_request"),
                response(request, {"delivered": 1, "lost": 0}),
            ]
        reply = tracer(hang_up=True)(request)
        assert reply is not None
        return reply

    serve(answer)
    done = utracectl("trace", "-o", "/dev/full", "sh", "-c", "exit 5")
    assert (done.returncode, stops) == (5, [{"trace": 1}])
    assert done.stderr == b"utracectl: cannot write to /dev/full (No space left on device): the trace ends here\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_letting_go_of_running_processes(number: int, serve: Serve, tmp_path: Path) -> None:
    pid = os.getpid()

    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        if request["method"] == "trace.start":
            return [response(request, {"trace": 1, "backend": "ptrace"}), getppid(pid)]
        last = {**getppid(pid)["params"], "unfinished": True}
        del last["return"]
        return [
            event(**last), event(kind="detached", pid=pid, trace=1, reason="client_request"),
            response(request, {"delivered": 2, "lost": 0}),
        ]  # fmt: skip

    server = serve(answer)
    with attached(pid, tmp_path) as process:
        assert process.stderr is not None
        assert "getppid()" in process.stderr.readline().decode()
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    lines = rest.decode().splitlines()
    assert process.returncode == 0
    assert lines[0].endswith("getppid( <detached ...>")
    assert lines[1] == f"utracectl: Process {pid} detached"
    assert [request["method"] for request in server.requests] == ["daemon.hello", "trace.start", "trace.stop"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_asks_twice_does_not_wait_for_the_rest(number: int, serve: Serve, tmp_path: Path) -> None:
    pid = os.getpid()
    asked = threading.Event()

    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        if request["method"] == "trace.start":
            return [response(request, {"trace": 1, "backend": "ptrace"})]
        asked.set()
        return []

    serve(answer)
    with attached(pid, tmp_path) as process:
        process.send_signal(number)
        assert asked.wait(60)
        process.send_signal(number)
        assert process.wait(timeout=60) == -number


def test_one_that_takes_long_to_write_is_told_before(serve: Serve, tmp_path: Path) -> None:
    pid = os.getpid()
    large = getppid(pid)
    large["params"]["filler"] = "x" * 190_000
    count = MUCH // 190_000 + 1

    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        if request["method"] == "trace.start":
            return [response(request, {"trace": 1, "backend": "ptrace"})]
        ended = event(kind="detached", pid=pid, trace=1, reason="client_request")
        return [*[large] * count, ended, response(request, {"delivered": count, "lost": 0})]

    serve(answer)
    with attached(pid, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        lines = rest.decode().splitlines()
        assert lines[0] == f"utracectl: Process {pid} detached; what it did is still being written, until Ctrl-C"
        assert ["getppid()" in line for line in lines[1:]] == [True] * count
        assert process.returncode == 0


def test_what_came_before_the_last_answer_is_written_at_once(serve: Serve, tmp_path: Path) -> None:
    pids = [os.getpid(), os.getppid()]

    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        if request["method"] == "trace.stop":
            return [response(request, {"delivered": 1, "lost": 0})]
        number = pids.index(request["params"]["pid"]) + 1
        before = [getppid(pids[0])] if number == 2 else []
        return [*before, response(request, {"trace": number, "backend": "ptrace"})]

    serve(answer)
    process = subprocess.Popen(
        [sys.executable, "-m", "utracectl", "trace", "-p", str(pids[0]), "-p", str(pids[1])],
        stderr=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket")},
    )  # fmt: skip
    assert process.stderr is not None
    said = [process.stderr.readline().decode() for _ in range(3)]
    assert ["attached" in line for line in said] == [True, True, False]
    assert "getppid()" in said[2]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_processes_that_cannot_be_traced_are_told(serve: Serve, utracectl: Run) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        pid = request["params"]["pid"]
        if pid == 2:
            data = {"kind": "no_such_process", "hint": "Look."}
            return [{"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32002, "message": "no 2", "data": data}}]
        return [response(request, {"trace": 3, "backend": "ptrace"}), ends(pid, trace=3)]

    serve(answer)
    done = utracectl("trace", "-p", "2,1", "-q")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("utracectl: no 2: Look.\n")


def test_signals_sent_to_us_reach_the_command(serve: Serve, tmp_path: Path) -> None:
    server = serve(tracer(hang_up=True))
    (tmp_path / "script").write_text("#!/bin/sh\ntrap 'echo caught; exit 21' TERM\necho ready\nread line\n")
    (tmp_path / "script").chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "utracectl", "trace", "./script"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket")},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == b"caught\n"
    # The made-up trace does not end by itself.
    server.hang_up()
    process.communicate(timeout=60)
    assert process.returncode == 21
