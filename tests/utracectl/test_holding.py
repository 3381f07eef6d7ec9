from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import child, fork
from tests.live.machine import state, tracer, until
from tests.live.terminal import END, terminal
from tests.utracectl.server import HELLO, Answer, Server, event, response
from tests.utracectl.targets import environment, started
from utracectl.holding import held_lines
from utraced.api.engine import Attached
from utraced.model import Holder, ThreadStatus

Serve = Callable[[Answer], Server]


def thread(tid: int, state: Any, *sessions: int) -> ThreadStatus:
    return ThreadStatus(tid=tid, state=state, holders=tuple(Holder(session=number) for number in sessions))


def test_what_is_said() -> None:
    threads = (thread(5, "held", 1), thread(6, "pending", 1, 2), thread(7, "held", 2, 1))
    found = Attached(engine=1, pid=5, start_time=1, threads=threads)
    assert list(held_lines(found, {2: "session 2 (process 9 gdb)"})) == [
        "process 5 is held: 2 threads",
        "thread 6 will be held when it can be: it sleeps uninterruptibly",
        "thread 6 is held by session 2 (process 9 gdb) too",
        "thread 7 is held by session 2 (process 9 gdb) too",
    ]
    assert next(held_lines(Attached(engine=1, pid=5, start_time=1, threads=threads[:1]), {})).endswith("1 thread")


def answering(*packets: dict[str, Any], holders: tuple[int, ...] = (1,)) -> Answer:
    """Return a daemon's answers, which sends these after it has attached."""
    peer = {"pid": 9, "uid": 0, "gid": 0}
    other = {
        "session": 2,
        "peer": peer,
        "command": "gdb\x1b[1m",
        "client": "mine",
        "queued": 0,
        "engines": 1,
        "traces": 0,
    }
    later = {**other, "session": 3, "client": None}

    def answer(request: dict[str, Any]) -> list[Any]:
        match request["method"]:
            case "daemon.hello":
                return [response(request, HELLO)]
            case "engine.attach":
                held = {"tid": 5, "state": "held", "holders": [{"session": number} for number in holders]}
                attached = {"engine": 1, "pid": 5, "start_time": 1, "threads": [held]}
                return [response(request, attached), *packets]
            case "session.list":
                if "cursor" in request["params"]:
                    return [response(request, {"sessions": [later]})]
                return [response(request, {"sessions": [{**other, "session": 1}, other], "next": 3})]
        return [response(request, {})]

    return answer


def test_who_holds_it_too_is_named(serve: Serve, tmp_path: Path) -> None:
    server = serve(answering(holders=(1, 2, 3)))
    with started(tmp_path, "hold", 5, socket=str(tmp_path / "socket")) as process:
        out, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert out.decode().splitlines() == [
        "process 5 is held: 1 thread",
        "thread 5 is held by session 2 (process 9 gdb\\x1b[1m, mine) too",
        "thread 5 is held by session 3 (process 9 gdb\\x1b[1m) too",
    ]
    assert server.requests[1]["params"] == {"pid": 5, "events": ["death"], "hold": True}
    assert server.requests[-1]["method"] == "engine.detach"


def test_as_json(serve: Serve, tmp_path: Path) -> None:
    serve(answering())
    with started(tmp_path, "hold", "--json", 5, socket=str(tmp_path / "socket")) as process:
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["threads"] == [{"tid": 5, "state": "held", "holders": [{"session": 1}]}]


def test_a_thread_that_is_held_later_and_a_process_that_ends(serve: Serve, tmp_path: Path) -> None:
    stop = event(kind="stop", engine=1, tid=6, pid=5, why="attached", held=True)
    deaths = [event(kind="death", engine=1, tid=tid, pid=5, last=tid == 5) for tid in (6, 5)]
    serve(answering(stop, *deaths))
    with started(tmp_path, "hold", 5, socket=str(tmp_path / "socket")) as process:
        assert process.wait(60) == 1
        assert process.stdout is not None
        assert process.stdout.read() == b"process 5 is held: 1 thread\nthread 6 is held\n"
        assert process.stderr is not None
        assert process.stderr.read() == b"utracectl: process 5 has ended\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
def test_a_real_process_stands_still_until_a_signal_or_the_end_of_stdin(number: int | None, tmp_path: Path) -> None:
    with child() as pid, started(tmp_path, "hold", pid) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"process {pid} is held: 1 thread\n".encode()
        assert state(pid) == "t"
        assert process.stdin is not None
        process.stdin.write(b"what is typed means nothing\n")
        process.stdin.flush()
        if number is None:
            process.stdin.close()
        else:
            process.send_signal(number)
        assert process.wait(60) == 0
        until(lambda: state(pid) == "S" and not tracer(pid), "it goes on")


def test_at_a_terminal(tmp_path: Path) -> None:
    with child() as pid:
        words = [sys.executable, "-m", "utracectl", "hold", str(pid)]
        with terminal(words, environment(tmp_path)) as shown:
            shown.expect("is held: 1 thread")
            assert state(pid) == "t"
            shown.type(END)
            assert shown.process.wait(60) == 0
        until(lambda: state(pid) == "S", "it goes on")


def test_in_the_background_of_a_terminal_only_a_signal_ends_it(tmp_path: Path) -> None:
    with child() as pid:
        command = f"set -m; {sys.executable} -m utracectl hold {pid} & sleep 100"
        with terminal(["sh", "-c", command], environment(tmp_path)) as shown:
            shown.expect("is held: 1 thread")
            shown.type("for the other\n")
            background = _child_named(shown.process.pid, "hold")
            os.kill(background, 0)
            assert state(pid) == "t"
            os.kill(background, signal.SIGINT)
            until(lambda: state(pid) == "S", "it goes on")
            os.killpg(os.getpgid(_child_named(shown.process.pid, "sleep 100")), signal.SIGKILL)
            shown.process.wait(60)


def test_who_is_killed_while_held(tmp_path: Path) -> None:
    pid = fork()
    if pid == 0:
        signal.pause()
    with started(tmp_path, "hold", pid) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(pid, signal.SIGKILL)
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == f"utracectl: process {pid} has ended\n".encode()
    os.waitpid(pid, 0)


def _child_named(pid: int, text: str) -> int:
    """Return the descendant of a process whose command line has ``text``."""
    done = subprocess.run(["ps", "-o", "pid=,ppid=,args=", "-A"], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    known = {pid}
    while True:
        more = {int(row[0]) for row in rows if int(row[1]) in known} - known
        if not more:
            break
        known |= more
    return next(int(row[0]) for row in rows if int(row[0]) in known and text in row[2] and "sh -c" not in row[2])
