"""The records of ``deliver: "raw"``: what the kernel wrote of system calls, one record after another.

All numbers are little-endian.  A record is a head of 40 bytes, then what its ``what`` has::

     0  u32 length      of the record without these first 8 bytes; the next one begins at the next multiple of 8
     4  u32             of no meaning
     8  u64 time_ns     CLOCK_MONOTONIC
    16  u32 pid
    20  u32 tid
    24  u8  what        1 entry, 2 exit, 3 clone, 4 exec, 5 death, 6 signal, 7 detached, 8 sent, 9 ignored, 10 in call
    25  u8  abi         0 x86_64, 1 i386, 2 x32
    26  u16             zero
    28  u32 nr          of the call; of a signal its number
    32  u32 dropped     records that did not fit so far, counted modulo 2**32
    36  u32             zero
    40  entry:    u64 args[6], u64 pc, u64 sp, fragments
        exit:     s64 result, fragments
        clone:    u32 child_pid, u32 child_tid, u64 flags, of clone(2)
        exec:     u32 former_tid, u32 zero, one fragment: the file's name
        death:    u32 status, as of wait(2), 2**32-1 where that is not known, u32 last
        signal:   48 bytes of siginfo_t, of one that is delivered; or only 12, number, errno and code
        sent:     the same, of one that is still to be delivered; it never is where it ends the process by itself
        ignored:  the same, of one that will not be delivered
        detached: -
        in call:  as entry: what a thread was in when the trace began, if /proc told the truth; its exit may be missing

A fragment is memory of the caller, at the end of a record there may be any number of them::

     0  u64 address
     8  u32 size
    12  u32 flags       1: the NUL of a C string comes right behind; 2: in an exit, as it stood at the entry;
                        4: no memory, but in an entry the stack: u64 addresses, innermost first; address is 2**63
    16  bytes, up to the next multiple of 8

Readers pass over a ``what``, and ignore flags, that they do not know.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FORMAT = "calls-1"
ENTRY, EXIT, CLONE, EXEC, DEATH, SIGNAL, DETACHED, SENT, IGNORED, IN_CALL = range(1, 11)
ABI_NAMES = ("x86_64", "i386", "x32")
ENDED, AT_ENTRY, STACK = 1, 2, 4
NOWHERE = 1 << 63
"""The address of a fragment that is no memory."""

HEAD = struct.Struct("<I4xQIIBB2xII4x")
ENTERED = struct.Struct("<6QQQ")
RETURNED = struct.Struct("<q")
CLONED = struct.Struct("<IIQ")
EXECED = struct.Struct("<I4x")
DIED = struct.Struct("<II")
SIGINFO_SIZE, SIGNALLED = 48, struct.Struct("<iii")
UNKNOWN_STATUS = 0xFFFF_FFFF
EXAMPLE = HEAD.pack(40, 1_000_000, 4711, 4711, EXIT, 0, 3, 0) + RETURNED.pack(0)
"""A close that returned 0."""
FRAGMENT = struct.Struct("<QII")

_LENGTH = struct.Struct("<I").unpack_from
_head = HEAD.unpack_from
_fragment = FRAGMENT.unpack_from


class BadRecord(ValueError):
    """Bytes that are no records."""


class Head(NamedTuple):
    """What all records have; ``end`` is where the record ends, ``body`` where its own part begins."""

    body: int
    end: int
    time_ns: int
    pid: int
    tid: int
    what: int
    abi: int
    nr: int
    dropped: int


class Fragment(NamedTuple):
    """Memory of the caller."""

    address: int
    data: bytes
    ended: bool
    at_entry: bool


def pack(head: Head, own: bytes, pieces: Iterable[Fragment] = ()) -> bytes:
    """Return a record with its ``own`` part and fragments; of ``head`` the places are not looked at."""
    body = bytearray(own)
    for address, data, ended, at_entry in pieces:
        body += FRAGMENT.pack(address, len(data), (ENDED if ended else 0) | (AT_ENTRY if at_entry else 0)) + data
        body += bytes(-len(body) % 8)
    _, _, time_ns, pid, tid, what, abi, nr, dropped = head
    return HEAD.pack(HEAD.size - 8 + len(body), time_ns, pid, tid, what, abi, nr & 0xFFFF_FFFF, dropped) + body


def heads(data: bytes) -> Iterator[Head]:
    """Give the records in ``data``; raises BadRecord."""
    at, size = 0, len(data)
    while at < size:
        if size - at < HEAD.size:
            raise BadRecord("a record is shorter than its head")
        length, time_ns, pid, tid, what, abi, nr, dropped = _head(data, at)
        end = at + 8 + length
        if end > size or length < HEAD.size - 8 or abi >= len(ABI_NAMES):
            raise BadRecord("a record is cut off")
        yield Head(at + HEAD.size, end, time_ns, pid, tid, what, abi, nr, dropped)
        at = end + 7 & ~7


def fragments(data: bytes, at: int, end: int) -> Iterator[Fragment]:
    """Give the fragments of memory between two places of ``data``; raises BadRecord."""
    for address, flags, start, stop in _all_fragments(data, at, end):
        if not flags & STACK:
            yield Fragment(address, data[start:stop], bool(flags & ENDED), bool(flags & AT_ENTRY))


def stack(data: bytes, at: int, end: int) -> tuple[int, ...] | None:
    """Return the stack that stands between two places of ``data``, None where none does; raises BadRecord."""
    for _, flags, start, stop in _all_fragments(data, at, end):
        if flags & STACK:
            return _without_end(struct.unpack_from(f"<{(stop - start) // 8}Q", data, start))
    return None


def _without_end(stack: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out what stands above the first function of a thread: no address."""
    return stack[:-1] if stack and not stack[-1] else stack


def _all_fragments(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give address, flags, first byte and end of each fragment; raises BadRecord."""
    while at < end:
        if end - at < FRAGMENT.size:
            raise BadRecord("a fragment is shorter than its head")
        address, size, flags = _fragment(data, at)
        start = at + FRAGMENT.size
        if start + size > end:
            raise BadRecord("a fragment is cut off")
        yield address, flags, start, start + size
        at = start + size + 7 & ~7


def part(layout: struct.Struct, data: bytes, head: Head) -> tuple[int, ...]:
    """Return the own part of a record; raises BadRecord where it is too short."""
    if head.body + layout.size > head.end:
        raise BadRecord("a record is too short for what it is")
    return layout.unpack_from(data, head.body)
