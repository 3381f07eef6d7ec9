"""What does not fit: packets, values, descriptors, results."""

from __future__ import annotations

import pytest

from tests.rpc.table import ENCODINGS, Echo, Echoed, call, only_error, packet_of, registry, serving, value_of
from utraced.errors import InvalidParams, LimitExceeded
from utraced.rpc.connection import SECOND_LOOK, Connection
from utraced.rpc.encoding import JSON, MESSAGEPACK, Encoding
from utraced.rpc.packet import Packet

both = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)


@both
def test_a_packet_of_too_many_values_is_not_decoded(encoding: Encoding, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(registry(), max_values=12)
    filled = {"text": ["x" * 20] * 4}
    received = connection.receive(packet_of(encoding, call("test.peek", {"pid": 1}, id=1)))
    assert len(received.requests) == 1
    packet = packet_of(encoding, call("test.echo", filled, id=2))
    monkeypatch.setattr(type(encoding), "decode", None)
    _, code, data = only_error(connection, packet)
    assert (code, data["limit"], data["value"]) == (-32009, "max_values", 12)


@both
def test_duplicates_in_large_parameters_are_not_looked_for(encoding: Encoding) -> None:
    connection = serving()
    for size, code in ((10, None), (SECOND_LOOK, -32602)):
        text = encoding.encode("x" * size)
        wrong = encoding.members(("text", encoding.encode(1)))
        params = wrong.replace(encoding.encode(1), text)
        twice = {JSON: b"%b,%b" % (wrong[:-1], params[1:]), MESSAGEPACK: b"\x82" + wrong[1:] + params[1:]}[encoding]
        request = encoding.members(
            ("jsonrpc", encoding.encode("2.0")),
            ("id", encoding.encode(size)),
            ("method", encoding.encode("test.echo")),
            ("params", twice),
        )
        received = connection.receive(Packet(request))
        assert [value_of(reply)["error"]["code"] for reply in received.replies] == [code] * (code is not None)


@both
def test_packets_that_are_too_large(encoding: Encoding) -> None:
    server = serving(max_packet=1000)
    large = packet_of(encoding, call("test.echo", {"text": "x" * 1000}, id=1), (3,))
    for packet, truncated in ((large, False), (Packet(large.data[:1000]), True)):
        identity, code, data = only_error(server, packet, truncated=truncated)
        assert (identity, code) == (None, -32009)
        assert (data["limit"], data["value"]) == ("max_packet", 1000)
    assert server.event_encoding is encoding


@both
def test_descriptors_that_were_cut_off(encoding: Encoding) -> None:
    server = serving()
    identity, code, data = only_error(server, packet_of(encoding, call("test.echo", id=1), (3,)), fds_truncated=True)
    assert (identity, code, data["limit"], data["value"]) == (1, -32009, "max_fds", 16)
    assert not server.receive(packet_of(encoding, call("test.echo")), fds_truncated=True).requests
    client = Connection(registry(), encoding=encoding)
    client.request(Echo())
    reply = packet_of(encoding, {"jsonrpc": "2.0", "id": 1, "result": {"fd": 0}}, (3,))
    (response,) = client.receive(reply, fds_truncated=True).responses
    assert isinstance(response.error, LimitExceeded)


@both
def test_a_result_that_is_too_large_names_the_way_out(encoding: Encoding) -> None:
    server = serving(max_packet=1000)
    (request,) = server.receive(packet_of(encoding, call("test.echo", id="a"))).requests
    (reply,) = server.result(request, Echoed(text="x" * 1000, fd=0), (5,))
    assert reply.fds == ()
    assert server.take_unsent() == [5]
    value = value_of(reply)
    assert value["id"] == "a"
    assert value["error"]["code"] == -32009
    assert value["error"]["data"]["limit"] == "max_packet"
    assert "descriptor" in value["error"]["data"]["hint"]


@both
def test_an_id_too_long_for_its_own_error(encoding: Encoding) -> None:
    server = serving(max_packet=1000)
    received = server.receive(packet_of(encoding, call("x", id="i" * 900)))
    assert len(received.replies[0].data) <= 1000
    assert value_of(received.replies[0])["id"] is None


@both
def test_requests_that_cannot_be_sent(encoding: Encoding) -> None:
    client = Connection(registry(), encoding=encoding, max_packet=1000)
    with pytest.raises(LimitExceeded, match="does not fit"):
        client.request(Echo(text="x" * 1000))
    with pytest.raises(LimitExceeded, match="16 file"):
        client.request(Echo(), tuple(range(17)))
    with pytest.raises(InvalidParams):
        client.call_raw("test.echo", {"text": "\udcff"})
    assert client.request(Echo())[0] == 1
