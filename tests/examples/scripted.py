"""A daemon that answers by a script, to see what a client makes of packets that are rare."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from tests.live.machine import PATIENCE

Packet = dict[str, Any] | list[dict[str, Any]] | bytes
"""What is sent: a message, several in an array, or bytes as they are."""

Script = list[list[Packet]]
"""The packets that answer each request in turn; a dict without "method" gets the request's id."""


def event(kind: str, **members: Any) -> dict[str, Any]:
    """Return an event of engine 7."""
    return {"jsonrpc": "2.0", "method": "event", "params": {"kind": kind, "engine": 7, **members}}


def result(**members: Any) -> dict[str, Any]:
    """Return a reply."""
    return {"jsonrpc": "2.0", "id": None, "result": members}


@contextmanager
def scripted(path: Path, script: Script) -> Iterator[list[dict[str, Any]]]:
    """Answer one client at ``path`` and wait until it hangs up; gives the requests that came.

    Where the last answer is empty, it hangs up itself.
    """
    requests: list[dict[str, Any]] = []

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE)
        with connection:
            for answers in script:
                requests.append(json.loads(connection.recv(204_800)))
                for answer in answers:
                    connection.send(_encoded(answer, requests[-1]["id"]))
            if script[-1]:
                connection.recv(1)

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(str(path))
        listener.listen()
        thread = Thread(target=serve)
        thread.start()
        yield requests
        thread.join(PATIENCE)


def _encoded(answer: Packet, identity: object) -> bytes:
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer, dict) and "method" not in answer:
        answer = {**answer, "id": identity}
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()
