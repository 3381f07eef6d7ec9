"""BTF, the kernel's own description of its types: where the members of its structures are.

Documentation/bpf/btf.rst.  A header, then types one after another, each with its number by position, then strings.
What is read may be anything: whatever does not fit raises ``BadBtf``.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")

_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT = 1, 3, 4, 5, 6, 8, 9, 10, 11
_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _TYPE_TAG, _ENUM64 = 12, 13, 14, 15, 17, 18, 19
_MODIFIERS = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_KINDS = 20
Kind = Literal["typedef", "structure", "function"]
_KINDS_BY_NAME: dict[Kind, int] = {"typedef": _TYPEDEF, "structure": _STRUCT, "function": _FUNC}
_FIXED = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}
_WORDS = [3 + _FIXED.get(kind, 0) // 4 for kind in range(_KINDS)]
_WORDS_EACH = [_EACH.get(kind, 0) // 4 for kind in range(_KINDS)]
_AT_ONCE = 1000
"""Types between looks whether enough are known."""
_DEEPEST = 32
"""Structures within structures, and names of types for others: what is deeper is no kernel's."""


class BadBtf(Exception):
    """The data is no BTF, or names what is not there."""


def read_btf(path: str) -> Btf:
    """Return the types in a file; raises OSError and BadBtf."""
    with open(path, "rb") as file:
        try:
            # Since Linux 6.16; before, and of an empty file, it is refused.
            return Btf(mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ))
        except (OSError, ValueError):
            return Btf(file.read())


class Btf:
    """The types in ``data``.

    >>> read_btf("/sys/kernel/btf/vmlinux").offset("task_struct", "mm")
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        if len(data) < _HEADER.size:
            raise BadBtf("shorter than its header")
        magic, _, _, header, types, types_size, strings, strings_size = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise BadBtf("not BTF of this byte order")
        if header + types + types_size > len(data) or header + strings + strings_size > len(data):
            raise BadBtf("cut off")
        if types_size % 4:
            raise BadBtf("the types are cut off")
        self._data = data
        self._types, self._types_end = header + types, header + types + types_size
        self._strings, self._strings_end = header + strings, header + strings + strings_size
        self._words = memoryview(data)[self._types : self._types_end].cast("I")
        self._places: list[int] = []
        self._next = 0
        self._known: dict[tuple[str, int], int] = {}

    def offset(self, structure: str, *path: str) -> int:
        """Return where a member lies, in bytes; ``path`` leads through structures within it.

        Raises BadBtf where there is no such member.
        """
        number = self._find(structure, _STRUCT)
        offset = 0
        for name in path:
            found = self._member(number, name, 0)
            if found is None:
                raise BadBtf(f"no member {name} in struct {structure}")
            bits, number = found
            if bits % 8:
                raise BadBtf(f"the member {name} of struct {structure} is a bit field")
            offset += bits // 8
        return offset

    def type_id(self, name: str, kind: Kind = "typedef") -> int:
        """Return the number of a type; of a tracepoint it is a typedef: ``btf_trace_sys_enter``."""
        return self._find(name, _KINDS_BY_NAME[kind])

    def _find(self, name: str, wanted: int) -> int:
        """Return the number of the type of a kind that has ``name``; of structures the definition."""
        known = self._known.get((name, wanted))
        if known is not None:
            return known
        for name_at in self._named(name):
            # Found by the name's number wherever it stands, then checked: nothing behind it need be looked at.
            pattern = name_at.to_bytes(4, "little")
            at = self._data.find(pattern, self._types, self._types_end)
            while at >= 0:
                number = self._number_at(at - self._types)
                if number is not None:
                    kept, info, _ = _TYPE.unpack_from(self._data, at)
                    if kept == name_at and _kind(info) == wanted and (wanted != _STRUCT or info & 0xFFFF):
                        self._known[name, wanted] = number
                        return number
                at = self._data.find(pattern, at + 1, self._types_end)
        raise BadBtf(f"no type {name}")

    def _number_at(self, place: int) -> int | None:
        """Return the number, from 1, of the type that begins at ``place``; None where none does."""
        self._scan(lambda: self._next > place)
        index = bisect_left(self._places, place)
        return index + 1 if index < len(self._places) and self._places[index] == place else None

    def _scan(self, enough: Callable[[], bool]) -> None:
        """Note where types begin until it is enough, or all are known: there are 130,000, and the first suffice."""
        words, add = self._words, self._places.append
        end = len(words)
        while self._next < 4 * end and not enough():
            word = self._next // 4
            for _ in range(min(_AT_ONCE, end - word)):
                if word >= end:
                    break
                add(4 * word)
                if word + 1 >= end:
                    raise BadBtf("the types are cut off")
                info = words[word + 1]
                kind = info >> 24 & 0x1F
                if not 0 < kind < _KINDS:
                    raise BadBtf(f"types of an unknown kind {kind}")
                word += _WORDS[kind] + _WORDS_EACH[kind] * (info & 0xFFFF)
            self._next = 4 * word
        if self._next > 4 * end:
            raise BadBtf("the types are cut off")

    def _member(self, number: int, name: str, depth: int) -> tuple[int, int] | None:
        """Return the offset in bits, and the type, of a member, looked for in members without a name too."""
        if depth > _DEEPEST:
            raise BadBtf("structures within structures without end")
        kind, members = self._members(number)
        if kind not in {_STRUCT, _UNION}:
            raise BadBtf(f"type {number} has no members")
        inner: list[tuple[int, int]] = []
        for name_at, type_number, offset in members:
            if name_at == 0:
                inner.append((offset, type_number))
            elif self._text(name_at) == name:
                return offset, type_number
        for offset, type_number in inner:
            if self._members(type_number)[0] not in {_STRUCT, _UNION}:
                continue  # padding between bit fields
            found = self._member(type_number, name, depth + 1)
            if found is not None:
                return offset + found[0], found[1]
        return None

    def _members(self, number: int) -> tuple[int, Iterable[tuple[int, int, int]]]:
        """Return the kind of a type without its other names, and its members: name, type, offset in bits."""
        for _ in range(_DEEPEST):
            self._scan(lambda: len(self._places) >= number)  # noqa: B023 - called at once
            if not 0 < number <= len(self._places):
                raise BadBtf(f"no type {number}")
            place = self._places[number - 1]
            if self._types + place + _TYPE.size > self._types_end:
                raise BadBtf("the types are cut off")
            _, info, other = _TYPE.unpack_from(self._data, self._types + place)
            kind = _kind(info)
            if kind not in _MODIFIERS:
                return kind, self._listed(place, info) if kind in {_STRUCT, _UNION} else ()
            number = other
        raise BadBtf("names for names without end")

    def _listed(self, place: int, info: int) -> Iterator[tuple[int, int, int]]:
        mask = 0xFFFFFF if info >> 31 else 0xFFFFFFFF
        for index in range(info & 0xFFFF):
            at = self._types + place + _TYPE.size + index * _MEMBER.size
            if at + _MEMBER.size > self._types_end:
                raise BadBtf("a member is cut off")
            name, number, offset = _MEMBER.unpack_from(self._data, at)
            yield name, number, offset & mask

    def _text(self, at: int) -> str:
        start = self._strings + at
        end = self._data.find(b"\0", start, self._strings_end) if start < self._strings_end else -1
        if end < 0:
            raise BadBtf("a name lies outside the strings")
        return self._data[start:end].decode("ascii", "replace")

    def _named(self, name: str) -> Iterator[int]:
        """Give the places of a name among the strings."""
        text = b"\0" + name.encode() + b"\0"
        at = self._data.find(text, self._strings, self._strings_end)
        while at >= 0:
            yield at + 1 - self._strings
            at = self._data.find(text, at + 1, self._strings_end)


def _kind(info: int) -> int:
    return info >> 24 & 0x1F
