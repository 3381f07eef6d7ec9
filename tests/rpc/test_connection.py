from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from tests.rpc.table import (
    ENCODINGS,
    MALFORMED,
    REQUESTS,
    Echo,
    Echoed,
    Peek,
    call,
    only_error,
    packet_of,
    registry,
    serving,
    value_of,
)
from utraced.errors import Cancelled, InternalError, InvalidRequest, PermissionDenied
from utraced.rpc.connection import Connection
from utraced.rpc.encoding import JSON, MESSAGEPACK, Encoding
from utraced.rpc.method import Method
from utraced.rpc.packet import Packet

both = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)


@both
@pytest.mark.parametrize(("params", "text", "packed"), REQUESTS)
def test_requests_both_ways(encoding: Encoding, params: Method[Any], text: bytes, packed: bytes) -> None:
    data = text if encoding is JSON else packed
    asking = Connection(registry(), encoding=encoding)
    assert asking.request(params, (5,)) == (1, Packet(data, (5,)))
    received = serving().receive(Packet(data, (5,)))
    (request,) = received.requests
    assert (request.id, request.method, request.params) == (1, params.method, params)
    assert request.descriptors is received.fds
    assert not received.replies


@both
def test_a_dialogue(encoding: Encoding) -> None:
    server, client = serving(), Connection(registry(), encoding=encoding)
    number, packet = client.request(Echo(text="é"))
    (request,) = server.receive(packet).requests
    (reply,) = server.result(request, Echoed(text="é", data=b"\0", fd=0), (9,))
    assert reply.fds == (9,)
    (response,) = client.receive(reply).responses
    assert response.id == number
    assert response.value() == Echoed(text="é", data=b"\0", fd=0)
    assert response.descriptors.take(0) == 9
    assert server.take_unsent() == []


@both
def test_an_error_is_raised_again_as_its_class(encoding: Encoding) -> None:
    server, client = serving(), Connection(registry(), encoding=encoding)
    (request,) = server.receive(client.call_raw("test.echo", {})[1]).requests
    (reply,) = server.error(request, PermissionDenied("no", reason="yama", hint="do it", tracer={"pid": 3}))
    (response,) = client.receive(reply).responses
    with pytest.raises(PermissionDenied, match="no") as error:
        response.value()
    assert error.value.reason == "yama"
    assert error.value.hint == "do it"
    assert error.value.data["tracer"] == {"pid": 3}


@both
def test_a_reply_uses_the_encoding_of_its_request_and_events_that_of_the_first(encoding: Encoding) -> None:
    server = serving()
    assert server.event_encoding is JSON
    for each in (encoding, JSON, MESSAGEPACK):
        (request,) = server.receive(packet_of(each, call("test.echo", id=1))).requests
        (reply,) = server.result(request, Echoed())
        assert (reply.data[0] >= 0x80) is (each is MESSAGEPACK)
    assert server.event_encoding is encoding


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_packets(data: bytes) -> None:
    server = serving(max_packet=1_000_000)
    identity, code, told = only_error(server, Packet(data, (4,)))
    assert (identity, code, told["kind"]) == (None, -32700, "parse_error")
    assert len(server.receive(packet_of(JSON, call("test.echo", id=1))).requests) == 1


def test_descriptors_of_malformed_packets_are_left_to_close() -> None:
    assert serving().receive(Packet(b"{", (4, 5))).fds.unclaimed() == [4, 5]


@both
def test_64_levels_work(encoding: Encoding) -> None:
    nested: Any = 1
    for _ in range(62):
        nested = [nested]
    (request,) = serving().receive(packet_of(encoding, call("test.peek", {"pid": 1, "nested": nested}, id=1))).requests
    assert request.params == Peek(pid=1, nested=nested)


IDS = [0, -1, 2**63, "", "a", "é😀", None, 1.5, -0.25]


@both
@pytest.mark.parametrize("identity", IDS)
def test_ids_are_echoed_with_type_and_value(encoding: Encoding, identity: Any) -> None:
    server = serving()
    (request,) = server.receive(packet_of(encoding, call("test.echo", id=identity))).requests
    assert request.id == identity
    for packets in (
        server.result(request, Echoed()),
        server.receive(packet_of(encoding, call("x", id=identity))).replies,
    ):
        echoed = value_of(packets[0])["id"]
        assert (echoed, type(echoed)) == (identity, type(identity))
    wrong = packet_of(encoding, {"jsonrpc": "1.0", "id": identity, "method": "test.echo"})
    assert only_error(server, wrong)[:2] == (identity, -32600)


@pytest.mark.parametrize("identity", [b"1.0", b"1e2", b"123456789012345678901234567890", rb'"\u0041\n"'])
def test_json_ids_are_echoed_as_written(identity: bytes) -> None:
    server = serving()
    (request,) = server.receive(Packet(b'{"jsonrpc":"2.0","id":%b,"method":"test.echo"}' % identity)).requests
    assert server.result(request, Echoed())[0].data == b'{"jsonrpc":"2.0","id":%b,"result":{}}' % identity


@both
@pytest.mark.parametrize("identity", [True, False, [], {}, [1], {"a": 1}])
def test_other_ids_are_refused(encoding: Encoding, identity: Any) -> None:
    assert only_error(serving(), packet_of(encoding, call("test.echo", id=identity)))[:2] == (None, -32600)


@pytest.mark.parametrize("identity", [b"1e400", b"1" * 5000])
def test_ids_beyond_any_number(identity: bytes) -> None:
    packet = Packet(b'{"jsonrpc":"2.0","id":%b,"method":"test.echo"}' % identity)
    assert only_error(serving(), packet)[:2] == (None, -32600)


@both
@pytest.mark.parametrize(
    "value",
    [
        {"jsonrpc": "2.0", "id": 5},
        {"jsonrpc": "1.0", "id": 5, "method": "test.echo"},
        {"jsonrpc": 2.0, "id": 5, "method": "test.echo"},
        {"id": 5, "method": "test.echo"},
        {"jsonrpc": "2.0", "id": 5, "method": 1},
        {"jsonrpc": "2.0", "id": 5, "method": None},
        call("test.echo", 1, id=5),
        call("test.echo", "x", id=5),
        {"jsonrpc": "2.0", "id": 5, "method": "test.echo", "params": None},
        {"jsonrpc": "2.0", "id": 5, "error": None},
        {"jsonrpc": "2.0", "id": 5, "result": 1},
    ],
)
def test_what_is_no_request(encoding: Encoding, value: dict[str, Any]) -> None:
    assert only_error(serving(), packet_of(encoding, value))[:2] == (5, -32600)


@pytest.mark.parametrize("data", [b"1", b'"x"', b"null", b"{}", b'{"jsonrpc":"2.0","method":1,"params":"bar"}'])
def test_what_is_no_request_and_has_no_id(data: bytes) -> None:
    assert only_error(serving(), Packet(data))[:2] == (None, -32600)


@both
def test_an_id_in_use_is_refused_until_it_is_answered(encoding: Encoding) -> None:
    server = serving()
    packet = packet_of(encoding, call("test.echo", id=1))
    (request,) = server.receive(packet).requests
    assert only_error(server, packet)[:2] == (1, -32600)
    assert len(server.receive(packet_of(encoding, call("test.echo", id="1"))).requests) == 1
    server.result(request, Echoed())
    assert len(server.receive(packet).requests) == 1


@both
def test_unknown_methods(encoding: Encoding) -> None:
    identity, code, data = only_error(serving(), packet_of(encoding, call("test.eco", id=1)))
    assert (identity, code, data["kind"]) == (1, -32601, "method_not_found")
    assert "Did you mean test.echo?" in data["hint"]
    assert "rpc.discover" in only_error(serving(), packet_of(encoding, call("", id=1)))[2]["hint"]
    long = serving().receive(packet_of(encoding, call("x" * 100_000, [], id=1))).replies[0]
    assert len(long.data) < 1000


@both
@pytest.mark.parametrize(
    ("params", "told"),
    [
        ([], {"path": "$"}),
        ([1], {"path": "$"}),
        ({"text": 1}, {"path": "$.text"}),
        ({"fd": 16}, {"path": "$.fd"}),
        ({"txt": ""}, {"path": "$", "member": "txt"}),
    ],
)
def test_parameters_that_do_not_fit(encoding: Encoding, params: Any, told: dict[str, str]) -> None:
    identity, code, data = only_error(serving(), packet_of(encoding, call("test.echo", params, id=1)))
    assert (identity, code) == (1, -32602)
    del data["hint"]
    assert data == {"kind": "invalid_params", **told}


def test_a_missing_member_is_named_with_those_there_are() -> None:
    data = only_error(serving(), packet_of(JSON, call("test.peek", {}, id=1)))[2]
    assert data["member"] == "pid"
    assert data["hint"] == "The parameters of test.peek are: pid, address, events, nested."


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"1.0","jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"b"}}',
        b'{"jsonrpc":1,"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"b"}}',
        b'{"jsonrpc":"2.0","id":[],"id":1,"method":7,"method":"test.echo","params":4,"params":{"text":"b"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"a","text":"b"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":1,"text":"b"}}',
    ],
)
def test_of_duplicate_members_the_last_wins(data: bytes) -> None:
    (request,) = serving().receive(Packet(data)).requests
    assert (request.id, request.params) == (1, Echo(text="b"))


def test_other_members_of_a_request_are_left_alone() -> None:
    assert len(serving().receive(packet_of(JSON, call("test.echo", id=1, trace="x"))).requests) == 1


@both
def test_notifications_are_run_and_never_answered(encoding: Encoding) -> None:
    server = serving()
    (request,) = server.receive(packet_of(encoding, call("test.echo", {"text": "a"}))).requests
    assert request.is_notification
    assert request.id is UNSET
    assert request.params == Echo(text="a")
    assert server.result(request, Echoed(), (8,)) == []
    assert server.take_unsent() == [8]
    assert server.error(request, InternalError("x")) == []
    for wrong in (call("test.echo", {"x": 1}), call("test.echo", [1]), call("$/cancelRequest", {})):
        received = server.receive(packet_of(encoding, wrong))
        assert [*received.requests, *received.replies] == []


@both
def test_notifications_we_do_not_know_are_handed_on(encoding: Encoding) -> None:
    client = Connection(registry())
    (event,) = client.receive(Packet(encoding.notification("event", encoding.encode({"seq": 1})))).notifications
    assert (event.method, event.value()) == ("event", {"seq": 1})
    assert event.value(dict[str, int]) == {"seq": 1}
    events = encoding.join([encoding.notification("event", encoding.encode({"seq": n})) for n in range(3)])
    received = client.receive(Packet(events))
    assert [event.value()["seq"] for event in received.notifications] == [0, 1, 2]
    assert not received.replies
    assert client.receive(packet_of(encoding, call("event"))).notifications[0].value() == {}


@both
def test_cancelling(encoding: Encoding) -> None:
    server, client = serving(), Connection(registry(), encoding=encoding)
    number, packet = client.request(Echo())
    (request,) = server.receive(packet).requests
    received = server.receive(client.cancel(number))
    assert received.cancelled == [request]
    assert [*received.requests, *received.replies, *received.notifications] == []
    (reply,) = server.error(request, Cancelled("cancelled"))
    assert isinstance(client.receive(reply).responses[0].error, Cancelled)
    assert server.receive(client.cancel(number)).cancelled == []
    assert server.result(request, Echoed(fd=0), (6,)) == []
    assert server.take_unsent() == [6]


def test_cancelling_with_an_id_is_answered() -> None:
    server = serving()
    received = server.receive(packet_of(JSON, call("$/cancelRequest", {"id": "gone"}, id=2)))
    assert value_of(received.replies[0]) == {"jsonrpc": "2.0", "id": 2, "result": {}}
    assert only_error(server, packet_of(JSON, call("$/cancelRequest", {}, id=2)))[:2] == (2, -32602)


@both
def test_responses_nobody_asked_for(encoding: Encoding) -> None:
    client = Connection(registry())
    error = {"code": -32000, "message": "m"}
    received = client.receive(packet_of(encoding, {"jsonrpc": "2.0", "id": 9, "error": error}))
    assert [*received.responses, *received.replies] == []
    received = client.receive(packet_of(encoding, {"jsonrpc": "2.0", "id": None, "error": error}))
    assert received.responses[0].id is None
    assert received.responses[0].error is not None
    assert received.responses[0].error.message == "m"


@pytest.mark.parametrize(
    "wrong",
    [
        {"jsonrpc": "2.0", "id": 1, "error": "x"},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": "x", "message": "m"}},
        {"jsonrpc": "1.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {"text": 5}},
        {"jsonrpc": "2.0", "id": 1, "result": None},
    ],
)
def test_a_malformed_response_still_ends_its_request(wrong: dict[str, Any]) -> None:
    client = Connection(registry())
    client.request(Echo())
    (response,) = client.receive(packet_of(JSON, wrong)).responses
    with pytest.raises(InvalidRequest):
        response.value()


def test_results_may_gain_members_and_data_need_be_no_object() -> None:
    client = Connection(registry())
    client.request(Echo())
    client.call_raw("new.method", {"a": 1})
    client.call_raw("new.method", {"a": 1})
    (first,) = client.receive(
        packet_of(JSON, {"jsonrpc": "2.0", "id": 1, "result": {"new": 1}, "error": None})
    ).responses
    assert first.value() == Echoed()
    (second,) = client.receive(packet_of(JSON, {"jsonrpc": "2.0", "id": 2, "result": [1]})).responses
    assert second.value() == [1]
    error = {"code": -31999, "message": "m", "data": ["x"]}
    (third,) = client.receive(packet_of(JSON, {"jsonrpc": "2.0", "id": 3, "error": error})).responses
    assert third.error is not None
    assert (third.error.message, third.error.data) == ("m", {})


@both
def test_a_result_without_form_leaves_its_request_to_be_failed(encoding: Encoding) -> None:
    server = serving()
    (request,) = server.receive(packet_of(encoding, call("test.echo", id=1))).requests
    with pytest.raises(InternalError):
        server.result(request, Echoed(text="\udcff"))
    (reply,) = server.error(request, InternalError("bad \udcff", reference="\udcff", hint="see"))
    assert value_of(reply)["error"] == {
        "code": -32603,
        "message": "bad \\udcff",
        "data": {"kind": "internal_error", "hint": "see"},
    }


def test_closing_forgets() -> None:
    server = serving()
    (first, _) = server.receive(
        packet_of(JSON, [call("test.echo", id=1), call("test.echo", id=2)], (3,)),
    ).requests
    server.result(first, Echoed(fd=0), (7,))
    assert server.close() == [7]
    assert server.result(first, Echoed(fd=0), (8,)) == []
    assert server.close() == [8]


def test_the_table_has_no_foreign_form() -> None:
    for _, text, packed in REQUESTS:
        assert value_of(Packet(text)).keys() == value_of(Packet(packed)).keys()
        assert msgspec.json.encode(value_of(Packet(text))) == text
