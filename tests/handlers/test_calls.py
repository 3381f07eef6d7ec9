"""Sets of system calls as clients name them."""

from __future__ import annotations

import pytest

from utraced.api.engine import CallFilter
from utraced.errors import InvalidParams
from utraced.handlers.calls import changed, selection, told
from utraced.observing.selection import Selection
from utraced.syscalls.abi import ABIS

X86_64 = ABIS["x86_64"]
READ, WRITE, OPENAT = (X86_64.numbers[name] for name in ("read", "write", "openat"))


def wanted(chosen: Selection) -> set[str]:
    return {name for name in ("read", "write", "openat", "getpid") if chosen.wants(X86_64, X86_64.numbers[name])}


def test_none_and_all_are_everything() -> None:
    for calls in (None, "all", CallFilter(), CallFilter(set="all")):
        assert wanted(selection(calls)) == {"read", "write", "openat", "getpid"}


def test_calls_are_names_numbers_and_classes() -> None:
    assert wanted(selection(("read", WRITE, "%file"))) == {"read", "write", "openat"}
    assert wanted(selection(())) == set()


def test_a_filter_adds_and_removes() -> None:
    assert wanted(selection(CallFilter(set=("read",), add=("write",)))) == {"read", "write"}
    assert wanted(selection(CallFilter(remove=("read", "%file")))) == {"write", "getpid"}
    assert wanted(selection(CallFilter(set=("read",), add="all"))) == {"read", "write", "openat", "getpid"}
    assert wanted(selection(CallFilter(remove="all"))) == set()


def test_the_switch_keeps_the_set() -> None:
    off = changed(selection(("read",)), CallFilter(enabled=False))
    assert wanted(off) == set()
    assert wanted(changed(off, CallFilter(enabled=True))) == {"read"}


def test_what_is_changed_is_a_copy() -> None:
    first = selection(("read",))
    changed(first, CallFilter(add=("write",)))
    assert wanted(first) == {"read"}
    assert wanted(changed(first, None)) == {"read"}


def test_a_word_that_is_no_call_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidParams, match="opnat") as refused:
        selection(("opnat",))
    assert "openat" in refused.value.hint
    assert refused.value.data["member"] == "opnat"


@pytest.mark.parametrize("words", ["all", (), ("read",), ("%file", "getppid"), (0xFFF,)])
def test_what_is_told_chooses_the_same(words: tuple[str | int, ...] | str) -> None:
    chosen = selection(words)  # type: ignore[arg-type]
    shown = told(chosen)
    assert shown.enabled
    assert selection(CallFilter(set=shown.set, remove=shown.excluded)).calls.numbers == chosen.calls.numbers


def test_what_is_left_out_of_all_is_told() -> None:
    shown = told(selection(CallFilter(remove=("read", "write"), enabled=False)))
    assert (shown.enabled, shown.set, shown.excluded) == (False, "all", ("read", "write"))
