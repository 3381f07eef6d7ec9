"""Layouts of binary records."""

from __future__ import annotations

import struct

import pytest

from utraced.rpc.layout import Field, record


def test_fields_lie_where_struct_packs_them() -> None:
    packing = struct.Struct("<4sHxx2IQ3x")
    found = record("r", "One.", packing, {"magic": "m", "short": "s", "a": "1", "b": "2", "long": "l"})
    assert found.size == packing.size
    assert found.fields == (
        Field(name="magic", offset=0, size=4, type="char[4]", description="m"),
        Field(name="short", offset=4, size=2, type="uint16_t", description="s"),
        Field(name="a", offset=8, size=4, type="uint32_t", description="1"),
        Field(name="b", offset=12, size=4, type="uint32_t", description="2"),
        Field(name="long", offset=16, size=8, type="uint64_t", description="l"),
    )
    values = (b"abcd", 1, 2, 3, 4)
    data = packing.pack(*values)
    read = tuple(
        part if field.type.startswith("char") else int.from_bytes(part, "little")
        for field in found.fields
        for part in [data[field.offset : field.offset + field.size]]
    )
    assert read == values


@pytest.mark.parametrize(
    ("packing", "names", "complaint"),
    [
        ("<I", {}, "has no name"),
        ("<I", {"a": "", "b": ""}, "has no field b"),
        ("<d", {"a": ""}, "'d' has no name"),
        (">I", {"a": ""}, "little-endian"),
        ("I", {"a": ""}, "little-endian"),
    ],
)
def test_mistakes(packing: str, names: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        record("r", "", struct.Struct(packing), names)
