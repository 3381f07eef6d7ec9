"""Errors are the same class on both sides of the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.errors import BY_CODE, BY_KIND, BadAddress, Gone, PermissionDenied, UtracedError, from_wire

CLASSES = sorted(BY_KIND.values(), key=lambda cls: cls.code)


def made(cls: type[UtracedError]) -> UtracedError:
    if cls is PermissionDenied:
        return PermissionDenied("no", reason="yama", hint="do this", tracer={"pid": 5})
    return cls("no", hint="do this", value=7)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_crosses_the_wire_as_itself(cls: type[UtracedError]) -> None:
    error = made(cls)
    again = from_wire(error.code, error.message, error.wire_data())
    assert type(again) is cls
    assert (again.message, again.hint, again.data) == (error.message, error.hint, error.data)


def test_codes_and_kinds_are_unique_and_those_of_the_protocol() -> None:
    assert len(BY_CODE) == len(BY_KIND) == 16
    jsonrpc = {-32700, -32600, -32601, -32602, -32603}
    assert set(BY_CODE) - jsonrpc == set(range(-32011, -32000))
    assert {cls.kind: cls.code for cls in CLASSES}["contended"] == -32006


def test_a_kind_that_needs_a_hint_has_one() -> None:
    assert [cls.__name__ for cls in CLASSES if not cls.default_hint] == ["LimitExceeded", "PermissionDenied"]


def test_what_is_absent_is_not_sent() -> None:
    assert Gone("ended", status=None).wire_data() == {"kind": "gone", "hint": Gone.default_hint}
    assert BadAddress("no", address="0x10", done=3).wire_data()["done"] == 3


def test_the_reason_of_a_refusal_is_kept() -> None:
    error = from_wire(-32001, "no", made(PermissionDenied).wire_data())
    assert isinstance(error, PermissionDenied)
    assert error.reason == "yama"


def test_an_error_of_a_newer_daemon_is_a_plain_one() -> None:
    error = from_wire(-32099, "new", {"kind": "brand_new", "hint": "update"})
    assert type(error) is UtracedError
    assert (error.message, error.hint) == ("new", "update")


@given(
    st.integers(),
    st.text(),
    st.none() | st.dictionaries(st.text() | st.sampled_from(["kind", "hint", "message", "self", "reason"]), st.text()),
)
def test_any_error_of_another_end_is_one(code: int, message: str, data: dict[str, str] | None) -> None:
    assert from_wire(code, message, data).message == message
