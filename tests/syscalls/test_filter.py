"""The sets of ``-e trace=``: what each selects, and what each wrong word is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS
from utraced.syscalls.classes import CLASSES
from utraced.syscalls.filter import Selection, UnknownCall, parse_trace, select

X86_64, I386, X32 = ABIS["x86_64"], ABIS["i386"], ABIS["x32"]
BIT = 0x40000000
UNNAMED = 0x3E7


def names(selection: Selection) -> set[str]:
    """Return the names of the 64-bit calls selected."""
    return {name for nr, name in X86_64.names.items() if selection.has(X86_64, nr)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open", {"open"}),
        ("open,close", {"open", "close"}),
        ("open,", {"open"}),
        ("0,39", {"read", "getpid"}),
        ("none", set()),
        ("!all", set()),
        ("?nosuch", set()),
        ("?nosuch,open", {"open"}),
        ("?", set()),
        ("?/nosuch", set()),
        ("%clock", {*CLASSES["%clock"]} & {*X86_64.numbers}),
        ("clock_gettime,process", {"clock_gettime", *CLASSES["%process"]} & {*X86_64.numbers}),
        ("/^sche.*yield$", {"sched_yield"}),
        ("/^exec", {"execve", "execveat"}),
        ("/^exec@64", {"execve", "execveat"}),
        ("/^exec@32", set()),
        ("open@64", {"open"}),
        ("open@32", set()),
        ("waitpid", set()),
        ("syscall_0x27", {"getpid"}),
    ],
)
def test_sets(text: str, expected: set[str]) -> None:
    assert names(parse_trace(text)) == expected


@pytest.mark.parametrize("text", ["!open", "!!!open", "!2", "!?open"])
def test_an_exclamation_mark_inverts_the_whole_list(text: str) -> None:
    selection = parse_trace(text)
    assert names(selection) == set(X86_64.numbers) - {"open"}
    assert selection.has(X86_64, UNNAMED)


@pytest.mark.parametrize("text", ["all", "open,all", "!none", "!!all"])
def test_all_has_numbers_without_a_name_too(text: str) -> None:
    selection = parse_trace(text)
    assert names(selection) == set(X86_64.numbers)
    assert selection.has(X86_64, UNNAMED)
    assert not (~selection).has(X86_64, UNNAMED)


def test_every_abi_has_its_own_numbers() -> None:
    selection = parse_trace("rt_sigaction")
    assert selection.numbers == {
        "x86_64": frozenset({13}),
        "i386": frozenset({174}),
        "x32": frozenset({BIT | 13, BIT | 512}),
    }
    assert parse_trace("7").numbers["x32"] == frozenset({BIT | 7})
    assert parse_trace("waitpid").has(I386, 7)
    assert parse_trace("open@x32").has(X32, BIT | 2)


@pytest.mark.parametrize(
    ("text", "word", "nearest"),
    [
        ("opne", "opne", "open"),
        ("read,%fiel", "%fiel", "%file"),
        ("fstatat", "fstatat", "fstatat64"),
        ("pure", "pure", None),
        ("!close,!open", "!open", "open"),
        ("open@65", "open@65", None),
        ("READ", "READ", "read"),
        ("99999999999999999999", "99999999999999999999", None),
        ("/nosuchcall", "/nosuchcall", None),
        ("/(", "/(", None),
        ("/[[", "/[[", None),
        ("/a{99999999999999999999}", "/a{99999999999999999999}", None),
        ("", "", None),
        ("!", "!", None),
        (",", ",", None),
        ("@64", "@64", None),
    ],
)
def test_a_wrong_word_is_named(text: str, word: str, nearest: str | None) -> None:
    with pytest.raises(UnknownCall) as caught:
        parse_trace(text)
    assert caught.value.word == word
    assert repr(word) in str(caught.value)
    if nearest is not None:
        assert caught.value.nearest == nearest
        assert repr(nearest) in str(caught.value)


@pytest.mark.parametrize("text", ["%file,/^sched,?nosuch,39,open@32", "!%net,close", "all", "none"])
def test_the_words_say_the_same_again(text: str) -> None:
    selection = parse_trace(text)
    again = select(selection.words, inverted=selection.inverted)
    assert again.numbers == selection.numbers
    assert again.inverted == selection.inverted


def test_words_of_the_protocol_are_no_expressions() -> None:
    assert names(select(["%clock", 39, "open"])) >= {"getpid", "open", "time"}
    with pytest.raises(UnknownCall):
        select(["/open"])


@given(st.text(alphabet="!?/%@,open6432allnone[]()*^$\\\u0661", max_size=12))
def test_a_set_is_parsed_or_refused(text: str) -> None:
    try:
        selection = parse_trace(text)
    except UnknownCall:
        return
    assert selection.numbers.keys() == ABIS.keys()
