"""JSON Schemas of the protocol's types."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from msgspec import Meta, Struct

from utraced.model import Hex, HexText, Status, Value
from utraced.rpc.method import Method, TargetMethod
from utraced.rpc.schema import Schemas, docs_of, plain

HEX = {"type": "string", "pattern": "^0x[0-9a-fA-F]{1,16}$"}


class Part(Value, frozen=True):
    """A part.  ``at``: its place."""

    at: Hex
    name: str | None = None
    name_bytes: bytes | None = None
    pair: tuple[HexText, HexText] | None = None
    rest: tuple[int, ...] = ()


class Do(TargetMethod[Part], frozen=True):
    """Do it.  ``how``: fast or not."""

    method = "test.do"

    what: int
    how: Literal["fast", "slow"] = "fast"
    which: tuple[Literal["a", "b"], ...] = ("a",)
    either: Annotated[str, Meta(max_length=3)] | int | None = None


class Event(Struct, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What all have.  ``seq``: a count."""

    seq: int = 0


class Told(Event, kw_only=True, tag="told", rename={"result": "return"}):
    """It was told.  ``return``: what of."""

    result: int
    status: Status | None = None


def test_members_of_a_method_the_required_ones_first() -> None:
    found = {field.encode_name: (field.required, schema) for field, schema, _ in Schemas().members(Do)}
    assert next(iter(found)) == "what"
    assert found == {
        "what": (True, {"type": "integer"}),
        "how": (False, {"enum": ["fast", "slow"], "default": "fast"}),
        "which": (False, {"type": "array", "items": {"enum": ["a", "b"]}, "default": ["a"]}),
        "either": (False, {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "integer"}]}),
        "pid": (False, {"type": "integer", "minimum": 1, "maximum": 4194304}),
        "pidfd": (False, {"type": "integer", "minimum": 0, "maximum": 15}),
        "start_time": (False, {"type": "integer", "minimum": 0}),
    }


def test_members_are_described_where_they_are_declared() -> None:
    docs = docs_of(Do)
    assert docs.summary == "Do it."
    assert docs.members["how"] == "Fast or not."
    assert docs.members["pid"].startswith("The process")
    assert "what" not in docs.members


def test_structs_by_reference() -> None:
    schemas = Schemas()
    assert schemas.of([Part, list[Part]]) == (
        {"$ref": "#/components/schemas/Part"},
        {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
    )
    assert schemas.components == {
        "Part": {
            "title": "Part",
            "description": "A part.",
            "type": "object",
            "properties": {
                "at": {**HEX, "description": "Its place."},
                "name": {"type": "string"},
                "name_bytes": {
                    "type": "string",
                    "contentEncoding": "base64",
                    "description": "The exact bytes of `name`, where the text is not exact.",
                },
                "pair": {"type": "array", "minItems": 2, "maxItems": 2, "items": HEX},
                "rest": {"type": "array", "items": {"type": "integer"}, "default": []},
            },
            "required": ["at"],
        }
    }


def test_a_struct_itself() -> None:
    schemas = Schemas()
    schema = schemas.inline(Told, always=("seq",))
    assert schema["required"] == ["kind", "return", "seq"]
    assert schema["properties"]["kind"] == {"const": "told"}
    assert schema["properties"]["return"] == {"type": "integer", "description": "What of."}
    assert schema["properties"]["seq"] == {"type": "integer", "description": "A count."}
    assert schema["properties"]["status"] == {"$ref": "#/components/schemas/Status"}
    assert list(schemas.components) == ["Status"]


@pytest.mark.parametrize("validator", [Draft7Validator, Draft202012Validator])
def test_drafts_read_them_alike(validator: type[Draft7Validator]) -> None:
    schemas = Schemas()
    schemas.of([Part])
    checker = validator(schemas.components["Part"])
    assert checker.is_valid({"at": "0x10", "pair": ["0x1", "0x2"]})
    assert not checker.is_valid({"at": "0x10", "pair": ["0x1", "0x2", "0x3"]})
    assert not checker.is_valid({"at": "0x10", "pair": ["0x1", 2]})
    assert not checker.is_valid({"at": 16})
    assert not checker.is_valid({"name": "x"})


def test_two_structs_of_one_name() -> None:
    schemas = Schemas()
    schemas.of([Part])
    with pytest.raises(ValueError, match="called Part"):
        schemas.of([msgspec.defstruct("Part", [("other", int)])])
    schemas.of([Part])


def test_a_tuple_of_several_types() -> None:
    with pytest.raises(ValueError, match="tuple"):
        Schemas().of([tuple[int, str]])


def test_plain_values() -> None:
    assert plain(Part(at=Hex(16), name_bytes=b"\xff")) == {"at": "0x10", "name_bytes": "/w=="}


def test_a_method_without_members() -> None:
    class Nothing(Method[None], frozen=True):
        """Nothing."""

    assert Schemas().members(Nothing) == []
