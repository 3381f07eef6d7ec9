"""What is to be copied of a caller's memory: the table is what the decoders ask for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from utraced.syscalls.abi import ABIS
from utraced.syscalls.captures import CONSTANT, MOST, NOTHING, RESULT, Capture, captures_of

ROOT = Path(__file__).resolve().parent.parent.parent
X86_64 = ABIS["x86_64"]


def of(name: str) -> tuple[tuple[Capture, ...], tuple[Capture, ...]]:
    return captures_of(X86_64, X86_64.numbers[name])


def test_the_table_is_what_the_decoders_ask_for() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/generate_captures.py", "--check"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "entered", "left"),
    [
        ("close", (), ()),
        ("read", (), (Capture("bytes", 1, counter=RESULT, limited=True),)),
        ("write", (Capture("bytes", 1, counter=2, limited=True),), ()),
        ("openat", (Capture("string", 1, most=4095),), ()),
        ("fstat", (), (Capture("bytes", 1, unit=144, most=144),)),
    ],
)
def test_of_known_calls(name: str, entered: tuple[Capture, ...], left: tuple[Capture, ...]) -> None:
    assert of(name) == (entered, left)


def test_of_a_call_without_a_number_nothing_is() -> None:
    assert captures_of(X86_64, 500_000) == NOTHING


def test_narrow_callers_have_narrow_structures() -> None:
    i386 = ABIS["i386"]
    (wide,) = captures_of(X86_64, X86_64.numbers["pipe2"]).left
    (narrow,) = captures_of(i386, i386.numbers["times"]).left
    assert (wide.unit, narrow.unit) == (8, 16)


@pytest.mark.parametrize("abi", ["x86_64", "i386"])
def test_no_call_asks_for_more_than_there_is_room_for(abi: str) -> None:
    for nr in ABIS[abi].names:
        for captures in captures_of(ABIS[abi], nr):
            assert len(captures) <= MOST
            assert all(0 <= one.argument <= CONSTANT for one in captures)
