"""The binary data that methods give in descriptors, as far as a client must know how it is laid out."""

from __future__ import annotations

from utraced.rpc.layout import Layout, record

from . import call_records, map_records
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
    Layout(
        name=call_records.FORMAT,
        method="trace.start",
        summary='The `data` of events `records`, of a trace with `deliver: "raw"`.',
        description=(
            "Records one after another, each beginning with a head; the next begins at the next multiple of 8. What "
            "follows the head depends on `what`, and after an entry, an exit and an exec, up to the end of the record, "
            "any number of fragments: memory of the caller, each up to the next multiple of 8. A signal's own part is "
            f"the first {call_records.SIGINFO_SIZE} bytes of its siginfo_t. Pass over a `what`, and ignore flags, that "
            "you do not know."
        ),
        byte_order="little",
        records=(
            record(
                "head",
                "Of every record.",
                call_records.HEAD,
                {
                    "length": "bytes of the record without the first 8",
                    "time_ns": "CLOCK_MONOTONIC",
                    "pid": "the process",
                    "tid": "the thread",
                    "what": (
                        "1 entry, 2 exit, 3 clone, 4 exec, 5 death, 6 signal that is delivered, 7 detached, 8 signal "
                        "that was sent, 9 signal that is ignored, 10 call that a thread was in when the trace began"
                    ),
                    "abi": "0 x86_64, 1 i386, 2 x32",
                    "nr": "of the call, or the signal",
                    "dropped": "records that found no room so far, modulo 2**32",
                },
            ),
            record(
                "entry",
                "Of an entry, and of a call that a thread was in; fragments follow.",
                call_records.ENTERED,
                {
                    **{f"arg{number}": "an argument" for number in range(6)},
                    "pc": "the instruction pointer",
                    "sp": "the stack pointer",
                },
            ),
            record("exit", "Of an exit; fragments follow.", call_records.RETURNED, {"result": "of the call"}),
            record(
                "clone",
                "Of a clone.",
                call_records.CLONED,
                {"child_pid": "its process", "child_tid": "the new thread", "flags": "of clone(2), as far as known"},
            ),
            record(
                "exec",
                "Of an exec; a fragment with the file's name follows.",
                call_records.EXECED,
                {"former_tid": "the thread that made the call"},
            ),
            record(
                "death",
                "Of a thread's end.",
                call_records.DIED,
                {"status": "as wait(2) has it", "last": "1 where the process has ended with it"},
            ),
            record(
                "fragment",
                "Memory of the caller; its bytes follow.",
                call_records.FRAGMENT,
                {
                    "address": "of the first byte",
                    "size": "bytes",
                    "flags": (
                        "1: the NUL of a string comes next; 2: in an exit, as it stood at the entry; 4: no memory, but "
                        "in an entry the stack, u64 addresses, the innermost first"
                    ),
                },
            ),
        ),
        example=call_records.EXAMPLE,
    ),
)
