"""Which system calls an engine or trace wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.observing.selection import Selection
from utraced.syscalls.abi import ABIS
from utraced.syscalls.filter import UnknownCall

X86_64 = ABIS["x86_64"]
NAMES = ["read", "write", "openat", "getpid", "mmap"]
WORDS = st.lists(st.sampled_from([*NAMES, "all", "%file"]), max_size=4)


def named(chosen: Selection) -> set[str]:
    return {name for name in NAMES if chosen.wants(X86_64, X86_64.numbers[name])}


def meant(words: list[str]) -> set[str]:
    if "all" in words:
        return set(NAMES)
    return {name for name in NAMES if name in words or (name == "openat" and "%file" in words)}


@given(WORDS, st.lists(st.tuples(st.sampled_from(["choose", "add", "remove"]), WORDS), max_size=5))
def test_it_is_a_set_whatever_is_done_to_it(first: list[str], changes: list[tuple[str, list[str]]]) -> None:
    chosen, expected = Selection(first), meant(first)
    for change, words in changes:
        getattr(chosen, change)(words)
        if change == "choose":
            expected = meant(words)
        else:
            expected = expected | meant(words) if change == "add" else expected - meant(words)
    assert named(chosen) == expected


def test_all_includes_numbers_without_a_name() -> None:
    assert Selection().wants(X86_64, 60_000)
    assert not Selection(["read"]).wants(X86_64, 60_000)


def test_a_set_means_the_same_call_in_every_abi() -> None:
    chosen = Selection(["getpid"])
    for abi in ABIS.values():
        number = abi.number("getpid")
        assert number is not None
        assert chosen.wants(abi, number)


def test_an_unknown_word_changes_nothing() -> None:
    chosen = Selection(["read"])
    for change in (chosen.choose, chosen.add, chosen.remove):
        with pytest.raises(UnknownCall):
            change(["write", "no_such_call"])
    assert named(chosen) == {"read"}


def test_a_copy_is_independent() -> None:
    chosen = Selection(["read"])
    chosen.enabled = False
    copy = chosen.copy()
    copy.enabled = True
    copy.add(["write"])
    assert (named(chosen), named(copy)) == (set(), {"read", "write"})
