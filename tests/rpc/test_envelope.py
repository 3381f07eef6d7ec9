"""What surrounds the parameters of a message."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from utraced.errors import ParseError, UtracedError
from utraced.rpc.encoding import JSON, MESSAGEPACK
from utraced.rpc.envelope import read, read_error


def test_a_request_is_told_from_a_notification_by_its_id() -> None:
    request = read(JSON, b'{"jsonrpc":"2.0","id":null,"method":"m","params":{"a":1}}')
    assert (request.id, request.raw_id, request.method, request.params) == (None, b"null", "m", b'{"a":1}')
    assert read(JSON, b'{"jsonrpc":"2.0","method":"m"}').id is UNSET


@pytest.mark.parametrize("raw_id", [b"1", b'"x"', b"1.0", b"1e2", b"123456789012345678901234567890"])
def test_an_id_is_kept_byte_for_byte(raw_id: bytes) -> None:
    assert read(JSON, b'{"jsonrpc":"2.0","id":' + raw_id + b',"method":"m"}').raw_id == raw_id


@pytest.mark.parametrize("raw_id", [b"true", b"[1]", b"{}"])
def test_an_id_of_another_type_is_a_fault_of_which_nothing_is_echoed(raw_id: bytes) -> None:
    message = read(JSON, b'{"jsonrpc":"2.0","id":' + raw_id + b',"method":"m"}')
    assert message.fault is not None
    assert message.raw_id == b"null"


@pytest.mark.parametrize(
    "packet", [b'{"id":7,"method":"m"}', b'{"jsonrpc":"1.0","id":7,"method":"m"}', b'{"jsonrpc":"2.0","id":7}']
)
def test_a_fault_keeps_the_id_that_can_be_made_out(packet: bytes) -> None:
    message = read(JSON, packet)
    assert message.fault is not None
    assert message.raw_id == b"7"


def test_what_is_no_value_is_malformed() -> None:
    with pytest.raises(ParseError):
        read(JSON, b'{"jsonrpc":')
    with pytest.raises(ParseError):
        read(MESSAGEPACK, b"\x82\xa2id")


def test_an_error_becomes_the_class_that_was_raised() -> None:
    error = read_error(JSON, b'{"code":-32005,"message":"ended","data":{"kind":"gone","hint":"h"}}')
    assert isinstance(error, UtracedError)
    assert (type(error).__name__, error.message, error.hint) == ("Gone", "ended", "h")
