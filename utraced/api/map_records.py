"""The file of ``process.maps`` with ``as: "fd"``: mappings that need no parsing, in any language.

All numbers are little-endian.  The file is a header, then ``count`` records, then the string table::

    header, 64 bytes                      record, 64 bytes
     0  char magic[8]    "UTRMAPS1"        0  u64 start
     8  u32  record_size 64                8  u64 end           first byte behind
    12  u32  count                        16  u64 offset        in the file, bytes
    16  u64  strings     offset in file   24  u64 inode
    24  u64  strings_size  bytes          32  u32 major, 36 u32 minor: the device
    32  zero                              40  u32 flags
                                          44  u32 path_size     bytes, 0: no path
                                          48  u64 path          offset in file
                                          56  u64 zero

A path in the table ends with a zero byte that ``path_size`` does not count; equal paths share their place.  Readers
step by ``record_size``, which may grow, and ignore flags they do not know.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAGIC = b"UTRMAPS1"
READ, WRITE, EXECUTE, SHARED, DELETED = 1, 2, 4, 8, 16
"""``flags``; without SHARED the mapping is private.  DELETED: the file has no name any more."""

HEADER = struct.Struct("<8sIIQQ32x")
RECORD = struct.Struct("<QQQQIIIIQ8x")
_LETTERS = (("r", READ), ("w", WRITE), ("x", EXECUTE))


class MapRecord(NamedTuple):
    """One mapping, from ``start`` up to but without ``end``.

    ``perms`` as in /proc (``r-xp``); ``path`` without the kernel's " (deleted)", which ``deleted`` tells; names in
    brackets and None (anonymous) are no files.
    """

    start: int
    end: int
    perms: str
    offset: int
    major: int
    minor: int
    inode: int
    path: bytes | None
    deleted: bool


def permissions(flags: int) -> str:
    """Return flags as /proc writes them: ``r-xp``."""
    return "".join(letter if flags & bit else "-" for letter, bit in _LETTERS) + ("s" if flags & SHARED else "p")


def flags_of(record: MapRecord) -> int:
    """Return the flags of a mapping."""
    flags = sum(bit for letter, bit in _LETTERS if letter in record.perms)
    return flags | (SHARED if record.perms.endswith("s") else 0) | (DELETED if record.deleted else 0)


def pack(records: Iterable[MapRecord]) -> tuple[bytes, ...]:
    """Return the parts of the file, in order."""
    maps = list(records)
    base = HEADER.size + len(maps) * RECORD.size
    table = bytearray()
    places: dict[bytes, int] = {}
    packed = bytearray()
    for record in maps:
        path = record.path or b""
        place = places.get(path)
        if place is None:
            place = places[path] = len(table)
            table += path + b"\0"
        packed += RECORD.pack(
            record.start,
            record.end,
            record.offset,
            record.inode,
            record.major,
            record.minor,
            flags_of(record),
            len(path),
            base + place,
        )
    return HEADER.pack(MAGIC, RECORD.size, len(maps), base, len(table)), bytes(packed), bytes(table)


def unpack(data: bytes | memoryview) -> Iterator[MapRecord]:
    """Give the mappings in a file; raises ValueError where it is none."""
    if len(data) < HEADER.size:
        raise ValueError("the file is shorter than its header")
    magic, size, count, strings, strings_size = HEADER.unpack_from(data)
    if magic != MAGIC or size < RECORD.size or strings + strings_size > len(data):
        raise ValueError("the file holds no mappings")
    if HEADER.size + count * size > strings:
        raise ValueError("the records overlap the strings")
    for at in range(HEADER.size, HEADER.size + count * size, size):
        start, end, offset, inode, major, minor, flags, length, path = RECORD.unpack_from(data, at)
        if not strings <= path <= path + length <= strings + strings_size:
            raise ValueError("a path lies outside the strings")
        name = bytes(data[path : path + length]) or None
        yield MapRecord(start, end, permissions(flags), offset, major, minor, inode, name, bool(flags & DELETED))
