from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.utracectl.server import Answer, Server, response
from utracectl.client import client_of
from utracectl.connect import connect_socket
from utracectl.engines import NotStopped, attached, stop_thread
from utraced.errors import NotHeld

Serve = Callable[[Answer], Server]
ENGINE = {"engine": 4, "pid": 5, "start_time": 1, "threads": []}


def test_what_is_attached_is_detached(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda request: [response(request, {} if "engine" in request["params"] else ENGINE)])
    with client_of(connect_socket({"UTRACED_SOCKET": str(tmp_path / "socket")})) as client:
        with attached(client, 5, events=("death",), hold=True) as found:
            assert found.engine == 4
        with pytest.raises(NotHeld), attached(client, 5):
            raise NotHeld("no")
    assert [(each["method"], each["params"]) for each in server.requests] == [
        ("engine.attach", {"pid": 5, "events": ["death"], "hold": True}),
        ("engine.detach", {"engine": 4}),
        # An error ends the connection, which ends the engine.
        ("engine.attach", {"pid": 5, "events": []}),
    ]


def test_a_process_that_ended_meanwhile_needs_no_detaching(serve: Serve, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "engine.attach":
            return [response(request, ENGINE)]
        return [{"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32005, "message": "", "data": {}}}]

    serve(answer)
    with client_of(connect_socket({"UTRACED_SOCKET": str(tmp_path / "socket")})) as client, attached(client, 5):
        pass


@pytest.mark.parametrize("threads", [[], [{"tid": 5, "state": "pending"}]])
def test_a_thread_that_cannot_be_stopped(serve: Serve, tmp_path: Path, threads: list[object]) -> None:
    serve(lambda request: [response(request, {"threads": threads})])
    with client_of(connect_socket({"UTRACED_SOCKET": str(tmp_path / "socket")})) as client:
        with pytest.raises(NotStopped, match="thread 5 cannot be stopped") as caught:
            stop_thread(client, 4, 5)
        assert caught.value.status == 1
