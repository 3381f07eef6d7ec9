"""Layouts of binary records, described from the ``struct`` formats that pack them."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from utraced.model import Value

_TYPES = {"B": "uint8_t", "H": "uint16_t", "I": "uint32_t", "Q": "uint64_t", "i": "int32_t", "q": "int64_t"}
_BYTES = "s"
_PADDING = "x"


class Field(Value, frozen=True):
    """A member of a record: ``offset`` and ``size`` in bytes, ``type`` as C has it."""

    name: str
    offset: int
    size: int
    type: str
    description: str


class Record(Value, frozen=True):
    """A binary record of ``size`` bytes; what no field covers is zero."""

    name: str
    size: int
    description: str
    fields: tuple[Field, ...]


class Layout(Value, frozen=True):
    """Binary data that ``method`` gives: ``records`` in order, and ``example``, all of a small one."""

    name: str
    method: str
    summary: str
    description: str
    byte_order: str
    records: tuple[Record, ...]
    example: bytes


def record(name: str, description: str, packing: struct.Struct, members: Mapping[str, str]) -> Record:
    """Return the layout of a little-endian struct; ``members`` are its fields in order, each with what it means.

    Raises ValueError where there are more fields than members, or fewer, or one whose type has no name here.
    """
    if not packing.format.startswith("<"):
        raise ValueError("records are little-endian")
    left = list(members.items())
    found: list[Field] = []
    offset = 0
    for count, code in re.findall(r"(\d*)([a-zA-Z])", packing.format):
        if code in {_BYTES, _PADDING}:
            kinds = [(int(count or 1), f"char[{count or 1}]")]
        elif code in _TYPES:
            kinds = [(struct.calcsize(f"<{code}"), _TYPES[code])] * int(count or 1)
        else:
            raise ValueError(f"{code!r} has no name")
        for size, kind in kinds:
            if code != _PADDING:
                if not left:
                    raise ValueError(f"a field of {name} has no name")
                member, told = left.pop(0)
                found.append(Field(name=member, offset=offset, size=size, type=kind, description=told))
            offset += size
    if left:
        raise ValueError(f"{name} has no field {left[0][0]}")
    return Record(name=name, size=packing.size, description=description, fields=tuple(found))
