"""Memory as decoders see it: what is recorded is what a snapshot answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.memory import NOTHING, Fragment, Recording, Snapshot

PAGES = Snapshot([Fragment(0x1000, b"hello\0world"), Fragment(0x2000, b"abc", ended=True)])


def test_a_read_stops_where_the_known_part_ends() -> None:
    assert PAGES.read(0x1006, 100) == b"world"
    assert PAGES.read(0x3000, 4) == b""


def test_the_longest_of_overlapping_fragments_answers() -> None:
    both = Snapshot([Fragment(0x1000, b"ab"), Fragment(0x1001, b"bcdef")])
    assert both.read(0x1001, 4) == b"bcde"


def test_a_string_ends_at_its_nul_or_at_the_limit() -> None:
    assert PAGES.string(0x1000, 32) == (b"hello", True)
    assert PAGES.string(0x1000, 5) == (b"hello", True)
    assert PAGES.string(0x1000, 4) == (b"hell", False)
    assert PAGES.string(0x2000, 32) == (b"abc", True)
    assert PAGES.string(0x1006, 32) == (b"world", False)


def test_nothing_is_known_of_nothing() -> None:
    assert NOTHING.read(0, 1) == b""
    assert NOTHING.string(0, 1) == (b"", False)


def test_unreadable_memory_leaves_no_fragment() -> None:
    recording = Recording(NOTHING)
    recording.read(0x10, 8)
    recording.string(0x10, 8)
    assert recording.fragments == []


@given(
    st.binary(max_size=64),
    st.lists(st.tuples(st.booleans(), st.integers(0, 80), st.integers(0, 80)), max_size=6),
)
def test_a_snapshot_of_a_recording_answers_the_same(data: bytes, asked: list[tuple[bool, int, int]]) -> None:
    recording = Recording(Snapshot([Fragment(0x1000, data)]))

    def ask(memory: Recording | Snapshot) -> list[object]:
        return [
            memory.string(0x1000 + start, size) if string else memory.read(0x1000 + start, size)
            for string, start, size in asked
        ]

    live = ask(recording)
    assert ask(Snapshot(recording.fragments)) == live
