from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.utracectl.conftest import ROOT
from tests.utracectl.server import HELLO, Answer, Server, event, response

Serve = Callable[[Answer], Server]

# A shell with job control, as far as it matters: a session with a terminal, and a job in a process group of its own.
# It prints what becomes of the job, and continues it whenever it has stopped.
SHELL = """
import os, pty, signal, sys
master, slave = pty.openpty()
os.setsid()
os.close(os.open(os.ttyname(slave), os.O_RDWR))
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.execv(sys.executable, [sys.executable, "-m", "utracectl", *sys.argv[1:]])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    print("stopped", flush=True)
    {go_on}
print("exit", os.waitstatus_to_exitcode(status), flush=True)
"""


def answer(request: dict[str, Any]) -> list[Any]:
    if request["method"] == "daemon.hello":
        return [response(request, HELLO)]
    pid = request["params"]["pid"]
    reply = response(request, {"trace": 1, "backend": "ptrace"})
    return [reply, event(kind="detached", pid=pid, trace=1, reason="target_exited", delivered=0, lost=0)]


def job(tmp_path: Path, go_on: str, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SHELL.replace("{go_on}", go_on), *words],
        stdout=subprocess.PIPE, cwd=tmp_path, timeout=60, check=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket")},
    )  # fmt: skip
    return done.stdout.splitlines()


def test_our_job_stops_with_the_command_and_goes_on_with_it(serve: Serve, tmp_path: Path) -> None:
    serve(answer)
    words = ["trace", "sh", "-c", "kill -STOP $$; kill -TSTP $$; exit 4"]
    assert job(tmp_path, "os.killpg(job, signal.SIGCONT)", *words) == ["stopped", "stopped", "exit 4"]


def test_a_signal_to_us_alone_continues_the_command_too(serve: Serve, tmp_path: Path) -> None:
    serve(answer)
    words = ["trace", "sh", "-c", "kill -STOP $$; exit 4"]
    assert job(tmp_path, "os.kill(job, signal.SIGCONT)", *words) == ["stopped", "exit 4"]


def test_ctrl_z_is_the_command_s_to_answer(serve: Serve, tmp_path: Path) -> None:
    serve(answer)
    words = ["trace", "sh", "-c", "trap 'echo caught' TSTP; kill -TSTP 0; exit 4"]
    assert job(tmp_path, "os.killpg(job, signal.SIGKILL)", *words) == ["caught", "exit 4"]


def test_the_keyboard_s_signals_end_the_command_and_us_by_it(serve: Serve, tmp_path: Path) -> None:
    serve(answer)
    words = ["trace", "sh", "-c", "kill -INT 0"]
    assert job(tmp_path, "break", *words) == [f"exit {-signal.SIGINT}"]
    words = ["trace", "sh", "-c", "trap 'exit 5' INT; kill -INT 0"]
    assert job(tmp_path, "break", *words) == ["exit 5"]


def test_without_a_terminal_nobody_would_see_us_stop(serve: Serve, tmp_path: Path) -> None:
    serve(answer)
    process = subprocess.Popen(
        [sys.executable, "-m", "utracectl", "trace", "sh", "-c", "echo $$; kill -STOP $$; exit 6"],
        stdout=subprocess.PIPE, cwd=tmp_path, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket")},
    )  # fmt: skip
    assert process.stdout is not None
    command = int(process.stdout.readline())
    # A SIGCONT discards a stop that has not been made yet, so one may not be enough.
    while process.poll() is None:
        try:
            os.kill(command, signal.SIGCONT)
        except ProcessLookupError:
            break
        os.sched_yield()
    process.communicate(timeout=60)
    assert process.returncode == 6
