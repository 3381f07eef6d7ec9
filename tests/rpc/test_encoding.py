from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rpc.table import ENCODINGS, MALFORMED, VALUES, Echo, Peek
from utraced.errors import InternalError, InvalidParams, ParseError
from utraced.model import Hex
from utraced.rpc.encoding import JSON, MESSAGEPACK, SHOWN, Encoding, encoding_of, misfit, shown


def checked(encoding: Encoding, data: bytes, kind: Any) -> Any:
    encoding.check(data)
    return encoding.decode(data, kind)


both = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)


@pytest.mark.parametrize(("value", "text", "packed"), VALUES)
def test_values_both_ways(value: Any, text: bytes, packed: bytes) -> None:
    for encoding, data in ((JSON, text), (MESSAGEPACK, packed)):
        encoding.check(data)
        assert encoding.encode(value) == data
        assert encoding.decode(data) == value


def test_the_first_byte_decides() -> None:
    packed = {*range(0x80, 0xA0), *range(0xDC, 0xE0)}
    for first in range(256):
        assert encoding_of(bytes((first, 0))) is (MESSAGEPACK if first in packed else JSON)
    assert encoding_of(b"") is JSON


def test_bytes_are_base64_or_bin() -> None:
    assert JSON.encode({"data": b"\0\xff"}) == b'{"data":"AP8="}'
    assert MESSAGEPACK.encode(b"\0\xff") == b"\xc4\x02\0\xff"
    assert JSON.decode(b'{"data":"AP8="}', Echo) == MESSAGEPACK.decode(b"\x81\xa4data\xc4\x02\0\xff", Echo)


@both
def test_hex_both_ways(encoding: Encoding) -> None:
    data = encoding.encode({"pid": 1, "address": Hex(2**64 - 1)})
    assert encoding.decode(data)["address"] == "0xffffffffffffffff"
    assert encoding.decode(data, Peek).address == 2**64 - 1
    assert encoding.decode(encoding.encode({"pid": 1, "address": 16}), Peek).address == 16


@both
@pytest.mark.parametrize("wrong", ["7f", "0x", "0x1_0", "0x" + "f" * 17, -1, 1.5, True])
def test_what_is_no_address(encoding: Encoding, wrong: Any) -> None:
    with pytest.raises(InvalidParams) as error:
        encoding.decode(encoding.encode({"pid": 1, "address": wrong}), Peek)
    assert error.value.data == {"path": "$.address"}


@both
@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"pid": "1"}, {"path": "$.pid"}),
        ({"pid": 1, "events": ["a", 2]}, {"path": "$.events[1]"}),
        ({}, {"path": "$", "member": "pid"}),
        ({"pid": 1, "pit": 1}, {"path": "$", "member": "pit"}),
        ([], {"path": "$"}),
    ],
)
def test_what_does_not_fit_says_where(encoding: Encoding, value: Any, data: dict[str, str]) -> None:
    with pytest.raises(InvalidParams) as error:
        encoding.decode(encoding.encode(value), Peek)
    assert error.value.data == data


def test_misfits_in_depth() -> None:
    assert misfit("Object missing required field `a` - at `$.b`").data == {"path": "$.b", "member": "a"}
    error = misfit("Expected `int`, got `str` - at `key` in `$.b`")
    assert error.data == {"path": "$.b"}
    assert error.message == "Expected `int`, got `str` at a key of $.b"
    long = misfit(f"Object contains unknown field `{'x' * 100_000}`")
    assert len(long.message) + len(long.data["member"]) < 1000


def test_long_text_is_cut() -> None:
    assert shown("x" * SHOWN) == "x" * SHOWN
    assert shown("x" * (SHOWN + 1)) == "x" * SHOWN + "…"


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed(data: bytes) -> None:
    with pytest.raises(ParseError):
        checked(encoding_of(data), data, list[msgspec.Raw] if data[:1] == b"[" else dict[str, msgspec.Raw])


def test_pairs_of_surrogates_are_text() -> None:
    for text in (rb'"\ud83d\ude00"', rb'"\uD83D\uDE00\\ud800"', rb'"\\\\ud800 \n\u0041"'):
        JSON.check(text)
        JSON.decode(text)


@both
@pytest.mark.parametrize("value", ["\ud800", {"a": ["\udcff"]}, object(), 2**64 + 0j], ids=repr)
def test_what_has_no_form(encoding: Encoding, value: Any) -> None:
    with pytest.raises(InternalError, match=f"has no {encoding.name} form"):
        encoding.encode(value)


@both
def test_a_value_nested_too_deeply_has_no_form(encoding: Encoding) -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InternalError):
        encoding.encode(value)
    while value:  # or its destruction would take as many levels
        value = value.pop()


def test_an_integer_beyond_messagepack() -> None:
    with pytest.raises(InternalError):
        MESSAGEPACK.encode(2**64)


@both
@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_join_is_the_array(encoding: Encoding, count: int) -> None:
    joined = encoding.join([encoding.encode(1)] * count)
    assert joined == encoding.encode([1] * count)
    assert encoding.shape(joined) == "array"


@both
def test_a_notification_is_the_object(encoding: Encoding) -> None:
    params = {"seq": 1, "kind": "exec"}
    whole = {"jsonrpc": "2.0", "method": "event", "params": params}
    for _ in range(2):
        assert encoding.notification("event", encoding.encode(params)) == encoding.encode(whole)


@both
def test_a_response_is_the_object(encoding: Encoding) -> None:
    data = encoding.response(encoding.encode("a"), "result", encoding.no_members)
    assert data == encoding.encode({"jsonrpc": "2.0", "id": "a", "result": {}})


@both
@pytest.mark.parametrize(
    ("value", "shape"), [({}, "object"), ([], "array"), (1, "scalar"), ("[", "scalar"), (None, "scalar")]
)
def test_shapes(encoding: Encoding, value: Any, shape: str) -> None:
    assert encoding.shape(encoding.encode(value)) == shape


def test_shapes_of_every_length() -> None:
    assert JSON.shape(b" \r\n\t[") == "array"
    assert [MESSAGEPACK.shape(MESSAGEPACK.encode(dict.fromkeys(map(str, range(n))))) for n in (16, 70_000)] == [
        "object",
        "object",
    ]


@both
@given(data=st.binary())
def test_any_bytes_decode_or_are_refused(encoding: Encoding, data: bytes) -> None:
    for kind in (Any, Peek, dict[str, msgspec.Raw]):
        with suppress(ParseError, InvalidParams):
            checked(encoding, data, kind)


texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


def values_in(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(values_in, value.values()))
    return 1 + sum(map(values_in, value)) if isinstance(value, list) else 1


@both
@given(value=plain, padding=st.text('x,:[{\\"', min_size=50))
def test_values_are_counted_before_they_are_decoded(encoding: Encoding, value: Any, padding: str) -> None:
    # The padding keeps the bytes more than the values: fewer bytes than ``most`` need no counting.
    value = [padding, value]
    data = encoding.encode(value)
    count = values_in(value)
    assert encoding.exceeds(data, count - 1) is (len(data) >= count)
    assert not encoding.exceeds(data, count)


@both
@given(data=st.binary(), most=st.integers(0, 20))
def test_any_bytes_are_counted_without_an_error(encoding: Encoding, data: bytes, most: int) -> None:
    if encoding.exceeds(data, most):
        assert len(data) > most


@pytest.mark.parametrize("head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdc"])
def test_a_count_of_what_is_not_there_is_malformed(head: bytes) -> None:
    assert not MESSAGEPACK.exceeds(head + bytes(100), 50)


@both
@given(value=plain)
def test_what_is_encoded_decodes(encoding: Encoding, value: Any) -> None:
    data = encoding.encode(value)
    encoding.check(data)
    assert encoding.decode(data) == value
