"""Stacks by frame pointers, in memory of all sorts."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.observing.stack import MOST_FRAMES, walk
from utraced.syscalls.memory import NOTHING, Fragment, Snapshot

PC, FRAME = 0x401000, 0x7FFF_0000


def frames(*found: tuple[int, int, int], layout: str = "<QQ") -> Snapshot:
    """Return memory with frames: where each is, the next, and where to go on in it."""
    return Snapshot([Fragment(at, struct.pack(layout, following, address)) for at, following, address in found])


@pytest.mark.parametrize(
    ("memory", "stack"),
    [
        (NOTHING, ()),
        (frames((FRAME, FRAME + 32, 0x10), (FRAME + 32, 0, 0x20)), (0x10, 0x20)),
        (frames((FRAME, FRAME + 32, 0x10), (FRAME + 32, 1, 0)), (0x10,)),
        (frames((FRAME, 8, 0x10)), (0x10,)),
        (Snapshot([Fragment(FRAME, bytes(15))]), ()),
    ],
    ids=["no frame", "two", "the first function", "a frame that is nowhere", "half a frame"],
)
def test_a_stack_is_as_long_as_its_frames_lead(memory: Snapshot, stack: tuple[int, ...]) -> None:
    assert walk(memory, PC, FRAME, width=8) == (PC, *stack)


def test_frames_of_32_bit_programs_are_narrower() -> None:
    memory = frames((FRAME, FRAME + 16, 0x10), (FRAME + 16, 0, 0x20), layout="<II")
    assert walk(memory, PC, FRAME, width=4) == (PC, 0x10, 0x20)


def test_frames_that_lead_in_circles_end() -> None:
    assert walk(frames((FRAME, FRAME, 0x10)), PC, FRAME, width=8) == (PC, *[0x10] * (MOST_FRAMES - 1))


@given(st.binary(max_size=100), st.integers(0, (1 << 64) - 1), st.sampled_from([4, 8]))
def test_any_memory_has_an_end(data: bytes, frame: int, width: int) -> None:
    assert 1 <= len(walk(Snapshot([Fragment(0, data)]), PC, frame, width=width)) <= MOST_FRAMES
