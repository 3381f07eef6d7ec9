"""The binary data that methods give in descriptors, as far as a client must know how it is laid out."""

from __future__ import annotations

from utraced.rpc.layout import Layout, record

from . import map_records
from .map_records import MapRecord

_EXAMPLE = MapRecord(
    start=0x55C0_0000_1000,
    end=0x55C0_0000_5000,
    perms="r-xp",
    offset=0x1000,
    major=0xFE,
    minor=0,
    inode=1_311_747,
    path=b"/usr/bin/sleep",
    deleted=False,
)

LAYOUTS = (
    Layout(
        name="maps",
        method="process.maps",
        summary='The file of `process.maps` with `as: "fd"`.',
        description=(
            "A header, `count` records, a string table. A path in the table ends with a zero byte that `path_size` "
            "does not count; equal paths share their place. Step by `record_size`, which may grow, and ignore flags "
            "you do not know."
        ),
        byte_order="little",
        records=(
            record(
                "header",
                "Once, at the beginning.",
                map_records.HEADER,
                {
                    "magic": f"`{map_records.MAGIC.decode()}`",
                    "record_size": "bytes of a record",
                    "count": "how many records follow",
                    "strings": "where the string table begins in the file",
                    "strings_size": "bytes of the string table",
                },
            ),
            record(
                "record",
                "One mapping; the first stands right behind the header.",
                map_records.RECORD,
                {
                    "start": "first address",
                    "end": "first address behind",
                    "offset": "of `start` in the mapped file, in bytes",
                    "inode": "of the mapped file, 0 where there is none",
                    "major": "of the mapped file's device",
                    "minor": "of the mapped file's device",
                    "flags": (
                        f"{map_records.READ} read, {map_records.WRITE} write, {map_records.EXECUTE} execute, "
                        f"{map_records.SHARED} shared, {map_records.DELETED} the mapped file has no name any more"
                    ),
                    "path_size": "bytes of the path, 0 where there is none",
                    "path": "where the path begins in the file",
                },
            ),
        ),
        example=b"".join(map_records.pack([_EXAMPLE])),
    ),
)
