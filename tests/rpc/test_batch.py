from __future__ import annotations

from typing import Any

import pytest

from tests.rpc.table import ENCODINGS, Echoed, call, packet_of, serving, value_of
from utraced.errors import InternalError
from utraced.model import Empty
from utraced.rpc.batch import renumbered
from utraced.rpc.connection import Connection
from utraced.rpc.encoding import JSON, Encoding
from utraced.rpc.packet import Packet

both = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)


def echoes(*ids: Any) -> list[dict[str, Any]]:
    return [call("test.echo", {"text": str(number)}, id=number) for number in ids]


def answered(connection: Connection, packet: Packet, text: str = "", fds: tuple[int, ...] = ()) -> Any:
    """Answer all requests of a packet alike and return the one packet that answers it."""
    received = connection.receive(packet)
    packets = list(received.replies)
    for request in received.requests:
        packets += connection.result(request, Echoed(text=text, fd=0 if fds else None), fds)
    (reply,) = packets
    assert len(reply.data) <= connection.max_packet
    return reply


@both
def test_an_empty_batch_is_one_error(encoding: Encoding) -> None:
    (reply,) = serving().receive(packet_of(encoding, [])).replies
    value = value_of(reply)
    assert (value["id"], value["error"]["code"]) == (None, -32600)


@both
def test_a_batch_of_notifications_is_answered_by_nothing(encoding: Encoding) -> None:
    server = serving()
    received = server.receive(packet_of(encoding, [call("test.echo"), call("x"), call("test.echo", [1])]))
    assert received.replies == []
    (request,) = received.requests
    assert server.result(request, Echoed()) == []


@both
def test_replies_come_in_one_packet_when_all_are_done(encoding: Encoding) -> None:
    server = serving()
    first, second, third = server.receive(packet_of(encoding, echoes(1, 2, 3))).requests
    assert [request.params.text for request in (first, second, third)] == ["1", "2", "3"]  # type: ignore[attr-defined]
    assert server.result(second, Echoed(text="b")) == []
    assert server.error(third, InternalError("c")) == []
    (reply,) = server.result(first, Echoed(text="a"))
    values = value_of(reply)
    assert [value["id"] for value in values] == [1, 2, 3]
    assert values[0]["result"] == {"text": "a"}
    assert values[2]["error"]["code"] == -32603


@both
def test_members_that_are_no_requests_are_answered_each(encoding: Encoding) -> None:
    values = value_of(answered(serving(), packet_of(encoding, [1, *echoes(1), [], call("x", id=2), call("x"), {}])))
    assert [(value["id"], value.get("error", {}).get("code")) for value in values] == [
        (None, -32600),
        (1, None),
        (None, -32600),
        (2, -32601),
        (None, -32600),
    ]


@both
def test_a_batch_of_errors_only_is_answered_at_once(encoding: Encoding) -> None:
    (reply,) = serving().receive(packet_of(encoding, [1, 2])).replies
    assert [value["error"]["code"] for value in value_of(reply)] == [-32600, -32600]


@both
def test_an_id_twice_in_a_batch(encoding: Encoding) -> None:
    values = value_of(answered(serving(), packet_of(encoding, echoes(1, 1))))
    assert [(value["id"], "error" in value) for value in values] == [(1, False), (1, True)]
    assert values[1]["error"]["code"] == -32600


@both
def test_a_batch_may_cancel_its_own_member(encoding: Encoding) -> None:
    received = serving().receive(packet_of(encoding, [*echoes(1), call("$/cancelRequest", {"id": 1}), *echoes(2)]))
    assert received.cancelled == received.requests[:1]


@both
def test_members_above_the_limit_are_refused_each(encoding: Encoding) -> None:
    server = serving(max_batch=3)
    members = [*echoes(0, 1), call("test.echo"), *echoes(3), call("test.echo"), 1]
    values = value_of(answered(server, packet_of(encoding, members)))
    assert [(value["id"], value.get("error", {}).get("code")) for value in values] == [
        (0, None),
        (1, None),
        (3, -32009),
        (None, -32009),
    ]
    assert values[2]["error"]["data"]["limit"] == "max_batch"
    assert values[2]["error"]["data"]["value"] == 3


def test_a_batch_of_very_many_is_answered_in_one_packet() -> None:
    server = serving()
    reply = answered(server, Packet(b"[" + b",".join([b"1"] * 100_000) + b"]"))
    values = value_of(reply)
    assert values[-1]["error"]["data"]["limit"] == "max_packet"
    assert len(values) > 500


@both
def test_of_results_that_do_not_fit_together_the_largest_give_way(encoding: Encoding) -> None:
    server = serving(max_packet=2000)
    first, second, third = server.receive(packet_of(encoding, echoes(1, 2, 3))).requests
    server.result(first, Echoed(text="x" * 500))
    server.result(second, Echoed(text="x" * 1500, fd=0), (5,))
    (reply,) = server.result(third, Echoed(text="x" * 500, fd=0), (6,))
    assert len(reply.data) <= 2000
    values = value_of(reply)
    assert [value.get("error", {}).get("code") for value in values] == [None, -32009, None]
    assert values[2]["result"]["fd"] == 0
    assert reply.fds == (6,)
    assert server.take_unsent() == [5]


@both
def test_ids_too_long_for_their_errors_end_in_one_of_id_null(encoding: Encoding) -> None:
    server = serving(max_packet=3000)
    reply = answered(server, packet_of(encoding, [call("x", id=f"{n}" + "i" * 500) for n in range(5)]))
    values = value_of(reply)
    assert values[0]["id"].startswith("0i")
    assert values[-1]["id"] is None
    assert values[-1]["error"]["code"] == -32009


@both
def test_descriptors_count_over_the_whole_packet(encoding: Encoding) -> None:
    server = serving()
    first, second, third = server.receive(packet_of(encoding, echoes(1, 2, 3))).requests
    server.result(third, Echoed(fd=1), (7, 8))
    server.result(second, Echoed(text="none"))
    (reply,) = server.result(first, Echoed(fd=0), (9,))
    assert reply.fds == (9, 7, 8)
    assert [value["result"].get("fd") for value in value_of(reply)] == [0, None, 2]


@both
def test_descriptors_a_packet_does_not_hold(encoding: Encoding) -> None:
    server = serving()
    reply = answered(server, packet_of(encoding, echoes(*range(17))), fds=(9,))
    assert len(reply.fds) == 16
    assert value_of(reply)[15]["result"]["fd"] == 15
    assert value_of(reply)[16]["error"]["data"]["limit"] == "max_fds"
    assert server.take_unsent() == [9]


def test_descriptors_are_shared_by_a_batch() -> None:
    received = serving().receive(packet_of(JSON, echoes(1, 2), (4, 5)))
    assert received.requests[0].descriptors.take(0) == 4
    assert received.requests[1].descriptors.take(1) == 5
    assert received.fds.unclaimed() == []


def test_results_without_descriptors_are_left_as_they_are() -> None:
    assert renumbered(Echoed(fd=2), 3) == Echoed(fd=5)
    assert renumbered(Echoed(), 3) == Echoed()
    assert renumbered(Empty(), 3) == Empty()
    assert renumbered([1], 3) == [1]
