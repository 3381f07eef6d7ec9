"""Values that every floor shares."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.model import (
    Hex,
    Status,
    ThreadStatus,
    decode_hook,
    encode_hook,
    encode_json,
    exact_bytes,
    hex_text,
    schema_hook,
    text_of,
)


class Holding(msgspec.Struct):
    value: Hex


def decoded(text: str) -> Hex:
    return msgspec.json.decode(b'{"value":' + text.encode() + b"}", type=Holding, dec_hook=decode_hook).value


@given(st.integers(0, 2**64 - 1))
def test_a_64_bit_value_is_text_on_the_wire(value: int) -> None:
    encoded = encode_json(Holding(Hex(value)))
    assert encoded == f'{{"value":"{value:#x}"}}'.encode()
    assert msgspec.json.decode(encoded, type=Holding, dec_hook=decode_hook).value == value
    assert decoded(str(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        '"0x"',
        '"10"',
        '"0x1_0"',
        '" 0x1"',
        '"-0x1"',
        '"0x10000000000000000"',
        '"0xg"',
        "-1",
        "1.5",
        "true",
        "null",
        str(2**64),
    ],
)
def test_nothing_else_is_one(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoded(text)


def test_the_hooks_know_no_other_type() -> None:
    for call in (lambda: encode_hook(object()), lambda: decode_hook(set, 1), lambda: schema_hook(set)):
        with pytest.raises(NotImplementedError):
            call()
    assert schema_hook(Hex)["pattern"].startswith("^0x")


def test_a_negative_value_is_shown_as_the_register_holds_it() -> None:
    assert hex_text(-1) == "0xffffffffffffffff"


@given(st.binary(max_size=40))
def test_text_of_a_target_never_fails_and_has_a_twin_where_it_is_not_exact(data: bytes) -> None:
    text = text_of(data)
    twin = exact_bytes(data, text)
    if twin is None:
        assert text.encode() == data
    else:
        assert twin == data


def test_a_backslash_of_the_target_s_own_is_not_taken_for_an_escape() -> None:
    assert text_of(b"\xff") == "\\xff"
    assert exact_bytes(b"\\xff", text_of(b"\\xff")) == b"\\xff"
    assert exact_bytes(b"plain", "plain") is None


def test_what_is_at_its_default_is_left_out() -> None:
    assert encode_json(Status(code=0)) == b'{"code":0}'
    assert encode_json(ThreadStatus(tid=5, state="held")) == b'{"tid":5,"state":"held"}'
