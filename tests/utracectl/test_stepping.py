from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import child
from tests.utracectl.server import Answer, Server, event, response
from tests.utracectl.targets import started, utracectl

Serve = Callable[[Answer], Server]
Run = Callable[..., Any]


def spin() -> None:
    """Work for ever, once the test has been told so."""
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "while True: pass"])


def answering(*packets: dict[str, Any]) -> Answer:
    """Return a daemon's answers, which sends these with the answer to thread.resume."""

    def answer(request: dict[str, Any]) -> list[Any]:
        method = request["method"]
        if method == "engine.attach":
            return [response(request, {"engine": 1, "pid": 5, "start_time": 1, "threads": []})]
        if method == "thread.stop":
            held = [{"tid": request["params"]["tid"], "state": "held"}]
            return [response(request, {"threads": held})]
        if method == "thread.resume":
            return [response(request, {"running": True}), *packets]
        return [response(request, {})]

    return answer


def test_each_step_is_a_line(serve: Serve, utracectl: Run) -> None:
    server = serve(answering(event(kind="clone", tid=6, engine=1), event(kind="step", tid=5, engine=1, pc="0x401002")))
    done = utracectl("step", "-n", "2", "5")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0x401002\n0x401002\n", b"")
    assert [each["method"] for each in server.requests] == [
        "engine.attach",
        "thread.stop",
        "thread.resume",
        "thread.resume",
        "engine.detach",
    ]
    assert server.requests[2]["params"] == {"engine": 1, "tid": 5, "action": "step"}
    told = utracectl("step", "--json", "5").stdout
    assert json.loads(told)["pc"] == "0x401002"


def test_another_thread_that_ends(serve: Serve, utracectl: Run) -> None:
    serve(answering(event(kind="death", tid=5, engine=1), event(kind="death", tid=7, engine=1)))
    done = utracectl("step", "--tid", "7", "-n", "9", "5")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"utracectl: thread 7 has ended\n")


def test_a_daemon_that_dies(serve: Serve, utracectl: Run) -> None:
    answer = answering()
    serve(lambda request: None if request["method"] == "thread.resume" else answer(request))
    done = utracectl("step", "5")
    assert (done.returncode, done.stderr) == (1, b"utracectl: the worker hung up\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_call_that_waits_can_be_left(number: int, tmp_path: Path, serve: Serve) -> None:
    server = serve(answering())
    with started(tmp_path, "step", 5, socket=str(tmp_path / "socket")) as process:
        assert process.stderr is not None
        assert b"thread 5 is still in this instruction" in process.stderr.readline()
        process.send_signal(number)
        out, said = process.communicate(timeout=60)
    assert (process.returncode, out, said) == (0, b"", b"")
    assert server.requests[-1]["method"] == "engine.detach"


def test_of_a_real_process(tmp_path: Path) -> None:
    with child(spin) as parent:
        pid = int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
        try:
            done = utracectl(tmp_path, "step", "-n", 5, pid)
        finally:
            os.kill(pid, signal.SIGKILL)
    assert (done.returncode, done.stderr) == (0, b"")
    places = done.stdout.decode().split()
    assert len(places) == 5
    assert all(int(place, 16) for place in places)
