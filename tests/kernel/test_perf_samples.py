"""Samples as the kernel writes them, by hand."""

from __future__ import annotations

import struct

from utraced.kernel import perf_samples as samples
from utraced.kernel.perf_samples import Tracepoints, items

POINTS = Tracepoints(443, 442, 260, 365)


def sample(point: int, raw: bytes, rest: bytes = b"") -> bytes:
    raw = struct.pack("<HBBi", point, 0, 0, 12) + raw
    raw += bytes(-(len(raw) + 4) % 8)
    body = struct.pack("<IIQI", 10, 12, 777, len(raw)) + raw + rest
    return struct.pack("<IHH", 9, 2, 8 + len(body)) + body


def other(kind: int, body: bytes, misc: int = 0) -> bytes:
    body += struct.pack("<IIQ", 10, 12, 777)
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


ENTER = sample(443, struct.pack("<q6Q", 257, 1, 2, 3, 4, 5, 6), struct.pack("<Q5Q", 2, 22, 21, 27, 28, 38))


def test_an_entry_has_its_registers() -> None:
    (item,) = items(ENTER, POINTS)
    assert item == (10, 12, 777, samples.ENTER, 257, 1, 2, 3, 4, 5, 6, 2, 22, 21, 27, 28, 38)
    assert items(ENTER, POINTS, side=True)[0][3] == samples.SIDE_ENTER


def test_an_entry_without_registers_is_one_too() -> None:
    data = sample(443, struct.pack("<q6Q", -1, 1, 2, 3, 4, 5, 6), struct.pack("<Q", 0))
    assert items(data, POINTS) == [(10, 12, 777, samples.ENTER, -1, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0)]


def test_what_else_there_is() -> None:
    data = (
        sample(442, struct.pack("<qq", 0, -2))
        + sample(260, struct.pack("<iii4xQQ", 17, 0, 1, 0x5000, 4))
        + sample(365, struct.pack("<HHii", 20, 6, 12, 11) + b"/bin/a\0\0")
        + other(7, struct.pack("<IIIIQ", 20, 10, 21, 12, 700))
        + other(4, struct.pack("<IIIIQ", 10, 1, 12, 1, 700))
        + other(3, struct.pack("<II8s", 10, 12, b"sh"), 1 << 13)
        + other(3, struct.pack("<II8s", 10, 12, b"name"))
        + other(2, struct.pack("<QQ", 1, 5))
    )
    assert items(data, POINTS) == [
        (10, 12, 777, samples.EXIT, 0, -2),
        (10, 12, 777, samples.DELIVER, 17, 0, 1, 0x5000),
        (10, 12, 777, samples.EXECED, b"/bin/a", 11),
        (10, 12, 700, samples.FORK, 20, 21),
        (10, 12, 700, samples.ENDED),
        (10, 12, 777, samples.RENAMED),
        (10, 12, 777, samples.LOST),
    ]
    assert items(other(2, struct.pack("<QQ", 1, 5)), POINTS, side=True)[0][3] == samples.LOST_BESIDE
