"""Layouts against the data they describe."""

from __future__ import annotations

from typing import Any

import pytest

from utraced.api.layouts import LAYOUTS
from utraced.api.map_records import unpack
from utraced.api.methods import registry
from utraced.rpc.layout import Layout, Record


def read(record: Record, data: bytes, at: int) -> dict[str, Any]:
    """Read a record as a client in another language would: by what the layout says alone."""
    values: dict[str, Any] = {}
    for field in record.fields:
        part = data[at + field.offset : at + field.offset + field.size]
        values[field.name] = part if field.type.startswith("char") else int.from_bytes(part, "little")
    return values


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_layouts_belong_to_methods(layout: Layout) -> None:
    assert layout.method in registry().methods


def test_mappings_are_read_by_their_layout() -> None:
    [layout] = [layout for layout in LAYOUTS if layout.name == "maps"]
    head, body = layout.records
    header = read(head, layout.example, 0)
    assert header["magic"] == b"UTRMAPS1"
    assert (head.size, header["record_size"]) == (64, body.size)
    [expected] = unpack(layout.example)
    for index in range(header["count"]):
        record = read(body, layout.example, head.size + index * header["record_size"])
        assert (record["start"], record["end"], record["offset"]) == (expected.start, expected.end, expected.offset)
        assert (record["inode"], record["major"], record["minor"]) == (expected.inode, 0xFE, 0)
        assert record["flags"] == 1 + 4
        path = layout.example[record["path"] : record["path"] + record["path_size"] + 1]
        assert path == b"/usr/bin/sleep\0"
        assert header["strings"] <= record["path"] < header["strings"] + header["strings_size"]
    assert header["strings"] + header["strings_size"] == len(layout.example)
