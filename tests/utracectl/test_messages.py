from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utracectl import messages
from utraced.errors import NoSuchProcess, PermissionDenied


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("größe ✓ 日本", "größe ✓ 日本"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
        ("\x7f\x80\x9b", "\\x7f\\x80\\x9b"),
        ("\u202ereversed\u2066\u200f\ufeff", "\\u202ereversed\\u2066\\u200f\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("", ""),
    ],
)
def test_terminal_text(text: str, shown: str) -> None:
    assert messages.terminal_text(text) == shown


@given(st.text(st.characters(codec=None)))
def test_whatever_is_shown_is_one_harmless_line(text: str) -> None:
    shown = messages.terminal_text(text)
    assert messages.terminal_text(shown) == shown
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    shown.encode()


def test_a_message_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    messages.say("two\nlines")
    assert capfd.readouterr() == ("", "utracectl: two\\x0alines\n")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NoSuchProcess("no process 5", hint="look"), "no process 5: look"),
        (NoSuchProcess("no process 5", hint=""), "no process 5"),
        (
            PermissionDenied("cannot", reason="traced_by_other", hint="wait", tracer={"pid": 9, "comm": "gdb"}),
            "cannot (traced by gdb 9): wait",
        ),
        (
            PermissionDenied("gdb 9 traces it", reason="traced_by_other", hint="wait", tracer={"pid": 9}),
            "gdb 9 traces it: wait",
        ),
    ],
)
def test_error_text(error: NoSuchProcess | PermissionDenied, text: str) -> None:
    assert messages.error_text(error) == text
