"""The law of the floor: any bytes give messages or a ready reply, never an exception."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.rpc.table import ENCODINGS, MALFORMED, REQUESTS, Echo, Echoed, call, packet_of, registry, serving, value_of
from utraced.rpc.connection import Connection
from utraced.rpc.encoding import Encoding
from utraced.rpc.packet import Packet

VALID = [
    *(data for _, *packets in REQUESTS for data in packets),
    *(packet_of(encoding, [call("test.echo", id=n) for n in range(20)]).data for encoding in ENCODINGS),
    *(packet_of(encoding, call("$/cancelRequest", {"id": 1})).data for encoding in ENCODINGS),
    *(packet_of(encoding, {"jsonrpc": "2.0", "id": 1, "result": {"fd": 0}}).data for encoding in ENCODINGS),
    *(
        packet_of(
            encoding, {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "", "data": {"kind": "gone"}}}
        ).data
        for encoding in ENCODINGS
    ),
]

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.floats(width=32)
scalars = scalars.filter(lambda value: value == value and value not in {float("inf"), float("-inf")})  # noqa: PLR0124
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
names = st.sampled_from(["test.echo", "test.peek", "$/cancelRequest", "event"]) | scalars
members: dict[str, st.SearchStrategy[Any]] = {
    "jsonrpc": st.just("2.0") | scalars,
    "method": names,
    "id": values,
    "params": st.fixed_dictionaries({}, optional={"text": values, "pid": values, "fd": values, "id": values}) | values,
    "result": values,
    "error": st.fixed_dictionaries({"code": values, "message": values}, optional={"data": values}) | values,
}
messages = st.fixed_dictionaries({}, optional=members) | values
packets = messages | st.lists(messages, max_size=5)


def lives(data: bytes, *, max_packet: int = 204_800) -> None:
    """Send bytes to an end that waits for answers and owes some; all it does must be well-formed."""
    connection = serving(max_packet=max_packet, max_batch=10)
    connection.receive(packet_of(ENCODINGS[0], call("test.echo", id=1)))
    connection.request(Echo())
    received = connection.receive(Packet(data, (3,)))
    replies = list(received.replies)
    for request in received.requests:
        replies += connection.result(request, Echoed(text="x", fd=0), (4,))
    for reply in replies:
        assert len(reply.data) <= max_packet
        value = value_of(reply)
        for response in value if isinstance(value, list) else [value]:
            assert response["jsonrpc"] == "2.0"
            assert "id" in response
            assert ("result" in response) is not ("error" in response)
        assert not Connection(registry()).receive(reply).requests
    assert received.fds.unclaimed() == [3]


@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    lives(data)


@given(
    valid=st.sampled_from([*VALID, *MALFORMED.values()]).filter(lambda data: len(data) < 10_000),
    cuts=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 20), st.binary(max_size=5)), max_size=4),
)
def test_mutations_of_packets(valid: bytes, cuts: list[tuple[int, int, bytes]]) -> None:
    data = valid
    for start, length, put in cuts:
        place = start % (len(data) + 1)
        data = data[:place] + put + data[place + length :]
    lives(data)


@given(encoding=st.sampled_from(ENCODINGS), value=packets)
@example(
    encoding=ENCODINGS[0], value=[{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m", "data": {"": 1}}}]
)
@example(encoding=ENCODINGS[1], value={"jsonrpc": "2.0", "id": 1.0, "result": {}})
def test_any_values(encoding: Encoding, value: Any) -> None:
    lives(packet_of(encoding, value).data)
    lives(packet_of(encoding, value).data, max_packet=600)
