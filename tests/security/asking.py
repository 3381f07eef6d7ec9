"""Every method that names a process, asked about whatever process one likes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from tests.worker.daemon import ROOM, Peer
from utraced.api.examples import EXAMPLES
from utraced.api.methods import registry
from utraced.model import encode_json
from utraced.rpc.method import Method, TargetMethod

NAMES = frozenset({"pid", "tid", "pidfd"})


def naming() -> list[type[Method[Any]]]:
    """Return the methods with a parameter that names a process or a thread."""
    return [kind for kind in registry().methods.values() if NAMES & set(kind.__struct_fields__)]


def targeting() -> list[type[Method[Any]]]:
    """Return those that need nothing of the session: a process is all they want."""
    return [kind for kind in naming() if issubclass(kind, TargetMethod)]


def calls(kind: type[Method[Any]], **changed: Any) -> Iterator[dict[str, Any]]:
    """Yield the parameters of each example of a method, about another process; ``changed`` is what else differs."""
    for example in EXAMPLES:
        if type(example.call) is not kind:
            continue
        members = msgspec.json.decode(encode_json(example.call))
        for name in ("pid", "pidfd", "start_time"):
            members.pop(name, None)
        yield {**members, **{name: value for name, value in changed.items() if name in kind.__struct_fields__}}


class Answer(NamedTuple):
    """A response: ``error`` is empty or the error, ``told`` all its bytes and those of the files that came with it."""

    error: dict[str, Any]
    result: Any
    told: bytes


def ask(peer: Peer, method: str, members: dict[str, Any], fds: Sequence[int] = ()) -> Answer:
    """Return the response to a request; events before it are passed over.

    ``fds`` go with it and are closed, and after them a file where ``fd`` is among the parameters.
    """
    files = [os.memfd_create("contents")] if "fd" in members else []
    number = peer.send(method, [*fds, *files], **members)
    for fd in fds:
        os.close(fd)
    while True:
        data, passed, _, _ = socket.recv_fds(peer.socket, ROOM, 16)
        assert data, f"the end of the stream instead of an answer to {method}"
        packet = msgspec.json.decode(data)
        if isinstance(packet, dict) and packet.get("id") == number:
            told = data + b"".join(map(_content, [*files, *passed]))
            return Answer(packet.get("error", {}), packet.get("result"), told)


def _content(fd: int) -> bytes:
    """Return what is in a file, and close it."""
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
