from __future__ import annotations

import io
import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utracectl.showing import print_json, print_line
from utraced.api.process import Map
from utraced.model import Hex


class Terminal(io.TextIOWrapper):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def stdout(
    monkeypatch: pytest.MonkeyPatch, encoding: str, kind: type[io.TextIOWrapper] = io.TextIOWrapper
) -> io.BytesIO:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", kind(written, encoding=encoding, write_through=True))
    return written


def test_what_the_encoding_cannot_say_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = stdout(monkeypatch, "ascii")
    print_line("größe \udcff")
    assert written.getvalue() == b"gr\\xf6\\xdfe \\udcff\n"


def test_utf_8_is_written_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written = stdout(monkeypatch, "utf-8")
    print_line("größe")
    assert written.getvalue() == "größe\n".encode()


def test_a_terminal_s_lines_do_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    written = stdout(monkeypatch, "utf-8", Terminal)
    monkeypatch.setenv("COLUMNS", "10")
    print_line("x" * 50)
    assert written.getvalue() == b"x" * 10 + b"\n"


def test_other_lines_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    written = stdout(monkeypatch, "utf-8")
    monkeypatch.setenv("COLUMNS", "10")
    print_line("x" * 50)
    assert written.getvalue() == b"x" * 50 + b"\n"


def test_values_are_as_on_the_wire(capsys: pytest.CaptureFixture[str]) -> None:
    entry = Map(start=Hex(16), end=Hex(32), perms="r--p", offset=Hex(0), dev="00:00", inode=Hex(0))
    print_json({"maps": [entry]}, indent=None)
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text)["maps"][0] == {
        "start": "0x10", "end": "0x20", "perms": "r--p", "offset": "0x0", "dev": "00:00", "inode": "0x0",
    }  # fmt: skip


@given(st.text())
def test_no_text_moves_the_terminal(text: str) -> None:
    output, sys.stdout = sys.stdout, io.StringIO()
    try:
        print_json([text])
        shown = sys.stdout.getvalue()
    finally:
        sys.stdout = output
    assert json.loads(shown) == [text]
    assert shown.replace(os.linesep, "").isascii()
    assert shown.replace("\n", "").isprintable()
