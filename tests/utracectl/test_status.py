from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.utracectl.server import HELLO, Answer, Server, response
from utracectl.status import MOST_HOLDINGS, holding_text, status_lines
from utraced.api.session import Holding, SessionEntry
from utraced.handlers.session import SHOWN
from utraced.model import Peer

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[[Answer], Server]


def entry(number: int, *holdings: Holding, **members: Any) -> SessionEntry:
    members = {"command": "tool", "queued": 0, "engines": 0, "traces": 0} | members
    return SessionEntry(session=number, peer=Peer(pid=40 + number, uid=0, gid=0), holdings=holdings, **members)


def test_a_line_a_session_and_one_a_process() -> None:
    holding = entry(
        3, Holding(pid=7, engine=1, held=(7, 8)), Holding(pid=9, trace=2),
        engines=1, traces=1, queued=12345, client="a client",
    )  # fmt: skip
    root = pwd.getpwuid(0).pw_name
    assert list(status_lines([holding, entry(12)], own=12, names=True)) == [
        "SESSION USER             PID ENGINES TRACES    QUEUED CLIENT",
        f"      3 {root:<12}      43       1      1    12,345 tool (a client)",
        "        process 7, engine 1, holds 7 8",
        "        process 9, trace 2",
        f"     12 {root:<12}      52       0      0         0 tool, which asks",
    ]


def test_users_of_another_host_are_numbers() -> None:
    assert next(iter(list(status_lines([entry(1)], own=2, names=False))[1:])).split()[1] == "0"


def test_a_user_without_a_name() -> None:
    nobody = SessionEntry(session=1, peer=Peer(pid=1, uid=4_000_000_000, gid=0), queued=0, engines=0, traces=0)
    assert "4000000000" in list(status_lines([nobody], own=0, names=True))[1]


def test_what_a_client_calls_itself_is_harmless() -> None:
    line = list(status_lines([entry(1, command="x\x1b[1m", client="y\n")], own=2, names=True))[1]
    assert line.endswith("x\\x1b[1m (y\\x0a)")


def test_that_there_may_be_more_is_shown() -> None:
    assert MOST_HOLDINGS == SHOWN
    many = [Holding(pid=number, engine=number) for number in range(1, SHOWN + 1)]
    assert list(status_lines([entry(1, *many)], own=2, names=True))[-1] == "        …"
    assert "…" not in list(status_lines([entry(1, *many[1:])], own=2, names=True))[-1]


def test_a_process_of_nothing() -> None:
    assert holding_text(Holding(pid=5)) == "process 5"


def test_pages_are_put_together(serve: Serve, utracectl: Run) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "daemon.hello":
            return [response(request, HELLO)]
        number = request["params"].get("cursor", 1)
        peer = {"pid": 40 + number, "uid": 0, "gid": 0}
        one = {"session": number, "peer": peer, "queued": 0, "engines": 0, "traces": 0, "command": "c"}
        return [response(request, {"sessions": [one], **({"next": number + 1} if number < 3 else {})})]

    server = serve(answer)
    done = utracectl("status")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line.split()[0] for line in done.stdout.decode().splitlines()[1:]] == ["1", "2", "3"]
    assert [request["params"] for request in server.requests[1:]] == [{}, {"cursor": 2}, {"cursor": 3}]
    sessions = json.loads(utracectl("status", "--json").stdout)["sessions"]
    assert [each["session"] for each in sessions] == [1, 2, 3]


def test_without_a_daemon(utracectl: Run, tmp_path: Path) -> None:
    done = utracectl("status", "--json", UTRACED_SOCKET="", XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 0
    assert done.stderr.startswith(b"utracectl: no daemon is running: each utracectl has a private worker")
    (own,) = json.loads(done.stdout)["sessions"]
    assert own["peer"]["uid"] == os.getuid()
    assert own["client"].startswith("utracectl ")
