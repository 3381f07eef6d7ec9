from __future__ import annotations

import socket

import anyio
import msgspec
import pytest

from utraced.api.methods import registry
from utraced.errors import PermissionDenied
from utraced.rpc.packet import Packet
from utraced.worker import refusing
from utraced.worker.refusing import answers, hang_up, refuse

NO = PermissionDenied("no", reason="policy", hint="Do without.")
HELLO = {"jsonrpc": "2.0", "id": "a", "method": "daemon.hello"}


def codes(value: object, *, truncated: bool = False) -> list[object]:
    packet = Packet(value if isinstance(value, bytes) else msgspec.json.encode(value))
    found = [msgspec.json.decode(answer.data) for answer in answers(packet, registry(), NO, truncated=truncated)]
    return [
        [member["error"]["code"] for member in one] if isinstance(one, list) else one["error"]["code"] for one in found
    ]


def test_requests_are_answered_with_the_reason_and_the_rest_as_always() -> None:
    assert codes(HELLO) == [-32001]
    assert codes([HELLO, {**HELLO, "id": 2}, 7]) == [[-32001, -32001, -32600]]
    assert codes({**HELLO, "method": "no.such"}) == [-32601]
    assert codes({**HELLO, "params": {"wrong": 1}}) == [-32602]
    assert codes(b"{") == [-32700]
    assert codes(b"{", truncated=True) == [-32009]
    assert codes({"jsonrpc": "2.0", "method": "daemon.hello"}) == []


def test_messagepack_is_answered_in_kind() -> None:
    [answer] = answers(Packet(msgspec.msgpack.encode(HELLO)), registry(), NO, truncated=False)
    assert msgspec.msgpack.decode(answer.data)["id"] == "a"


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(30)
    return ours, theirs


def test_who_says_nothing_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusing, "PATIENCE", 0)
    ours, theirs = pair()
    with theirs:
        anyio.run(refuse, ours, registry(), NO)
        assert theirs.recv(10) == b""


def test_who_is_gone_already_does_not_matter() -> None:
    ours, theirs = pair()
    theirs.send(msgspec.json.encode(HELLO))
    theirs.close()
    anyio.run(refuse, ours, registry(), NO)


def test_an_answer_is_read_though_more_was_sent_than_we_took() -> None:
    ours, theirs = pair()
    with theirs:
        for _ in range(5):
            theirs.send(b"more")
        ours.send(b"answer")
        with ours:
            hang_up(ours)
        assert theirs.recv(10) == b"answer"
        assert theirs.recv(10) == b""
