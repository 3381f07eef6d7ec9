from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import fork
from tests.utracectl.server import Answer, Server, response
from tests.utracectl.targets import utracectl as run
from utracectl.killing import signal_of
from utracectl.messages import WrongUsage

Serve = Callable[[Answer], Server]


@pytest.mark.parametrize(
    ("text", "signal"),
    [("TERM", "SIGTERM"), ("sigusr1", "SIGUSR1"), ("SIGRT_3", "SIGRT_3"), ("10", 10), ("64", 64), ("x", "SIGX")],
)
def test_signals(text: str, signal: str | int) -> None:
    assert signal_of(text) == signal


@pytest.mark.parametrize("text", ["0", "65", "9" * 5000])
def test_numbers_that_are_no_signals(text: str) -> None:
    with pytest.raises(WrongUsage, match="from 1 to 64"):
        signal_of(text)


def test_what_is_asked_for(serve: Serve, utracectl: Callable[..., Any]) -> None:
    server = serve(lambda request: [response(request, {})])
    assert utracectl("kill", "5").returncode == 0
    done = utracectl("kill", "-s", "usr1", "--tid", "6", "--json", "5")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    assert [each["params"] for each in server.requests] == [
        {"pid": 5, "signal": "SIGTERM"},
        {"pid": 5, "tid": 6, "signal": "SIGUSR1"},
    ]


def test_a_real_process(tmp_path: Path) -> None:
    pid = fork()
    if pid == 0:
        signal.pause()
    try:
        wrong = run(tmp_path, "kill", "-s", "NOPE", pid)
        assert (wrong.returncode, wrong.stdout) == (1, b"")
        assert b"SIGNOPE" in wrong.stderr
        assert run(tmp_path, "kill", "-s", "USR1", pid).returncode == 0
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGUSR1
