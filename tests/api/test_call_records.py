"""Records: taken apart, or refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.api import call_records as records


def record(what: int, own: bytes = b"", *fragments: bytes, nr: int = 0, dropped: int = 0) -> bytes:
    """Return one record as the kernel writes it, with what follows up to the next one."""
    body = own + b"".join(fragments)
    length = records.HEAD.size - 8 + len(body)
    data = records.HEAD.pack(length, 100, 10, 11, what, 0, nr, dropped) + body
    return data + bytes(-len(data) % 8)


def fragment(address: int, data: bytes, flags: int = 0) -> bytes:
    return records.FRAGMENT.pack(address, len(data), flags) + data + bytes(-len(data) % 8)


def test_records_follow_one_another() -> None:
    data = record(records.EXIT, records.RETURNED.pack(-2), nr=3) + record(records.DEATH, records.DIED.pack(256, 1))
    first, second = records.heads(data)
    assert (first.what, first.nr, first.pid, first.tid, first.time_ns) == (records.EXIT, 3, 10, 11, 100)
    assert records.part(records.RETURNED, data, first) == (-2,)
    assert records.part(records.DIED, data, second) == (256, 1)
    assert second.end == len(data)


def test_fragments_are_what_is_left() -> None:
    parts = fragment(0x1000, b"abc", records.ENDED), fragment(0x2000, b"", records.AT_ENTRY)
    data = record(records.EXIT, records.RETURNED.pack(0), *parts)
    (head,) = records.heads(data)
    assert list(records.fragments(data, head.body + records.RETURNED.size, head.end)) == [
        records.Fragment(0x1000, b"abc", ended=True, at_entry=False),
        records.Fragment(0x2000, b"", ended=False, at_entry=True),
    ]


def test_what_is_packed_is_what_the_kernel_writes() -> None:
    pieces = [records.Fragment(0x1000, b"abc", ended=True, at_entry=False), records.Fragment(0x2000, b"", False, True)]
    parts = fragment(0x1000, b"abc", records.ENDED), fragment(0x2000, b"", records.AT_ENTRY)
    head = records.Head(0, 0, 100, 10, 11, records.EXIT, 0, 3, 0)
    own = records.RETURNED.pack(0)
    assert records.pack(head, own, pieces) == record(records.EXIT, own, *parts, nr=3)


def stacked(*addresses: int) -> bytes:
    return fragment(records.NOWHERE, struct.pack(f"<{len(addresses)}Q", *addresses), records.STACK)


def test_a_stack_is_no_memory() -> None:
    parts = stacked(0x10, 0x20), fragment(0x1000, b"abc")
    data = record(records.ENTRY, records.ENTERED.pack(*[0] * 8), *parts)
    (head,) = records.heads(data)
    after = head.body + records.ENTERED.size
    assert records.stack(data, after, head.end) == (0x10, 0x20)
    assert [one.data for one in records.fragments(data, after, head.end)] == [b"abc"]


@pytest.mark.parametrize(
    ("parts", "stack"),
    [
        ((fragment(0x1000, b"abc"),), None),
        ((), None),
        ((stacked(0x10, 0),), (0x10,)),
        ((stacked(0),), ()),
        ((stacked(),), ()),
        ((fragment(records.NOWHERE, b"12345678abc", records.STACK),), (int.from_bytes(b"12345678", "little"),)),
    ],
    ids=["memory alone", "nothing", "its end", "its end alone", "empty", "half an address"],
)
def test_a_stack_has_addresses(parts: tuple[bytes, ...], stack: tuple[int, ...] | None) -> None:
    data = record(records.ENTRY, b"", *parts)
    (head,) = records.heads(data)
    assert records.stack(data, head.body, head.end) == stack


@pytest.mark.parametrize(
    "data",
    [
        bytes(8),
        record(records.EXIT)[:-1],
        record(records.EXIT)[:39],
        struct.pack("<I", 1) + record(records.EXIT)[4:],
        record(records.EXIT)[:25] + b"\x09" + record(records.EXIT)[26:],
    ],
    ids=["nothing", "cut", "no head", "length", "abi"],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(records.BadRecord):
        list(records.heads(data))


def test_a_part_that_is_cut_off_is_refused() -> None:
    data = record(records.ENTRY, b"1234")
    (head,) = records.heads(data)
    with pytest.raises(records.BadRecord):
        records.part(records.ENTERED, data, head)
    with pytest.raises(records.BadRecord):
        list(records.fragments(data, head.body, head.end))


@given(st.binary(max_size=300))
def test_bytes_are_records_or_refused(data: bytes) -> None:
    try:
        for head in records.heads(data):
            list(records.fragments(data, head.body, head.end))
            records.stack(data, head.body, head.end)
    except records.BadRecord:
        return


def test_what_the_description_says_is_so() -> None:
    assert records.HEAD.size == 40
    assert (records.ENTERED.size, records.RETURNED.size, records.FRAGMENT.size) == (64, 8, 16)
