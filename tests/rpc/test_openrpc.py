"""The OpenRPC document of a small protocol."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from msgspec import Struct

from utraced.errors import Gone, InvalidParams, UtracedError
from utraced.model import Hex, Value
from utraced.rpc.layout import Layout, record
from utraced.rpc.method import Method
from utraced.rpc.openrpc import Contract, document, errors_of, example


class Answer(Value, frozen=True):
    """An answer.  ``at``: where."""

    at: Hex


class Ask(Method[Answer], frozen=True):
    """Ask for it.  It waits.

    ``size``: in bytes.
    """

    method = "one.ask"
    access = "changes"
    errors = (Gone,)

    size: int
    name: str | None = None


class Look(Method[Answer], frozen=True):
    """Look at it."""

    method = "two.look"


class Told(Struct, tag_field="kind", tag="told", omit_defaults=True):
    """It is told.  So it is."""

    seq: int = 0
    why: str | None = None


FILE = struct.Struct("<I")

CONTRACT = Contract(
    info={"title": "test", "version": "1"},
    servers=(),
    families={"two": (Look,), "one": (Ask,)},
    docs={"one": "One.  More of it.", "two": "Two."},
    examples=(example("Ask", Ask(size=1), Answer(at=Hex(2))),),
    events={"told": Told},
    event_examples={"told": Told(seq=3)},
    layouts=(
        Layout(
            name="file",
            method="one.ask",
            summary="A file.",
            description="",
            byte_order="little",
            records=(record("whole", "All.", FILE, {"count": "of all"}),),
            example=FILE.pack(7),
        ),
    ),
)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return document(CONTRACT, CONTRACT.families, events=True)


def test_methods_in_order_of_their_names(whole: dict[str, Any]) -> None:
    assert [method["name"] for method in whole["methods"]] == ["one.ask", "two.look"]


def test_a_method(whole: dict[str, Any]) -> None:
    assert whole["methods"][0] == {
        "name": "one.ask",
        "summary": "Ask for it.",
        "description": "It waits.",
        "tags": [{"$ref": "#/components/tags/one"}],
        "paramStructure": "by-name",
        "params": [
            {"name": "size", "description": "In bytes.", "required": True, "schema": {"type": "integer"}},
            {"name": "name", "required": False, "schema": {"type": "string"}},
        ],
        "result": {"name": "result", "schema": {"$ref": "#/components/schemas/Answer"}},
        "errors": [
            {"$ref": f"#/components/errors/{kind}"}
            for kind in ("invalid_params", "internal_error", "permission_denied", "gone", "limit_exceeded")
        ],
        "examples": [
            {
                "name": "Ask",
                "params": [{"name": "size", "value": 1}],
                "result": {"name": "result", "value": {"at": "0x2"}},
            }
        ],
        "x-access": "changes",
    }


def test_events_with_their_schemas(whole: dict[str, Any]) -> None:
    assert whole["x-events"] == [
        {
            "name": "told",
            "summary": "It is told.",
            "description": "So it is.",
            "schema": {
                "type": "object",
                "properties": {"kind": {"const": "told"}, "seq": {"type": "integer"}, "why": {"type": "string"}},
                "required": ["kind", "seq"],
            },
            "examples": [{"kind": "told", "seq": 3}],
        }
    ]


def test_every_error_by_its_kind(whole: dict[str, Any]) -> None:
    errors = whole["components"]["errors"]
    assert errors.keys() == {cls.kind for cls in UtracedError.__subclasses__()}
    assert errors["gone"]["code"] == -32005
    assert errors["gone"]["message"] == "The object has ended; `status` tells how, where known."
    assert errors["gone"]["data"]["properties"]["kind"] == {"const": "gone"}
    assert errors["gone"]["data"]["required"] == ["kind", "hint"]
    assert errors["timed_out"]["data"]["properties"].keys() == {"kind", "hint"}


def test_layouts(whole: dict[str, Any]) -> None:
    assert whole["x-layouts"][0]["example"] == "BwAAAA=="
    assert whole["x-layouts"][0]["records"][0]["fields"] == [
        {"name": "count", "offset": 0, "size": 4, "type": "uint32_t", "description": "of all"}
    ]


def test_one_family() -> None:
    two = document(CONTRACT, ("two",), events=False)
    assert [method["name"] for method in two["methods"]] == ["two.look"]
    assert two["components"]["tags"] == {"two": {"name": "two", "description": "Two."}}
    assert two["x-layouts"] == []
    assert "x-events" not in two
    assert document(CONTRACT, ("one",), events=False)["x-layouts"] != []


def test_only_the_events() -> None:
    told = document(CONTRACT, (), events=True)
    assert told["methods"] == []
    assert len(told["x-events"]) == 1


def test_errors_of_every_method() -> None:
    assert InvalidParams in errors_of(Look)
    assert Gone not in errors_of(Look)
