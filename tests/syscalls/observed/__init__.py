"""Calls as strace 6.1 wrote them, each with the memory that its arguments were in.

A ``.jsonl`` file belongs to a module of ``utraced.syscalls.calls``.  A line of it is one call that a program made under
strace with default options: ``line``; and what the program had in ``entered`` and ``left``, its memory before and after
the call, as pairs of an address and bytes in hexadecimal.  Times were in UTC.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.memory import Fragment, Recording, Snapshot
from utraced.syscalls.text import call_text, entry_text, return_text

AT = 0x5000
WORDS = (0, 1, 2, 3, 4, 8, 16, 17, 32, 64, 100, 128, AT, AT + 8, AT + 32, (1 << 31) - 1, (1 << 32) - 1, (1 << 64) - 1)


def observed(module: str) -> list[Any]:
    """Return the calls of a module as parameters of a test."""
    lines = (Path(__file__).parent / f"{module}.jsonl").read_text().splitlines()
    return [pytest.param(json.loads(line), id=json.loads(line)["line"][:60]) for line in lines]


def memory(fragments: list[tuple[int, str]]) -> Snapshot:
    """Return a memory of which ``fragments`` are known."""
    return Snapshot([Fragment(address, bytes.fromhex(data)) for address, data in fragments])


def whole(case: dict[str, Any]) -> Call:
    """Return the call that a case tells of."""
    abi = ABIS[case["abi"]]
    name = case["line"].partition("(")[0]
    number = abi.number(name)
    assert number is not None
    return Call(
        abi,
        number,
        tuple(case["args"]),
        entered=memory(case["entered"]),
        left=memory(case["left"]),
        result=case["result"],
        errno=case["errno"],
    )


def check(case: dict[str, Any]) -> None:
    """Assert that a case's line is what we write, in one piece and in two."""
    call = whole(case)
    assert call_text(call) == case["line"]
    entry = entry_text(call)
    assert entry + return_text(call, column=len(entry)) == case["line"]


def check_reading(case: dict[str, Any]) -> None:
    """Assert that what is read at entry and at return is all that the text needs."""
    call = whole(case)
    entered, left = Recording(call.entered), Recording(call.left)
    signature = call.abi.signature(call.nr)
    before = Call(call.abi, call.nr, call.args, entered=entered)
    for index, kind in signature.of(before).reads_entry:
        kind.read_entry(call.args[index], before)
    after = Call(
        call.abi,
        call.nr,
        call.args,
        entered=Snapshot(entered.fragments),
        left=left,
        result=call.result,
        errno=call.errno,
    )
    chosen = signature.of(after)
    for index, kind in chosen.reads_return:
        kind.read_return(call.args[index], after)
    chosen.returns.read_return(after)
    after.left = Snapshot(left.fragments)
    assert call_text(after) == case["line"]


def names(module: str, abi: str) -> list[str]:
    """Return the names of the calls that a module signs for an ABI."""
    family = import_module(f"utraced.syscalls.calls.{module}")
    signed = dict(family.SIGNATURES) | (getattr(family, "I386_SIGNATURES", {}) if abi == "i386" else {})
    return sorted(name for name in signed if ABIS[abi].number(name) is not None)


@st.composite
def any_calls(draw: st.DrawFn, module: str) -> Call:
    """Return calls of a module with arbitrary arguments, memory and results."""
    abi = ABIS[draw(st.sampled_from(("x86_64", "i386", "x32")))]
    mask = (1 << 64) - 1 if abi.name != "i386" else (1 << 32) - 1
    number = abi.number(draw(st.sampled_from(names(module, abi.name))))
    assert number is not None
    word = st.sampled_from(WORDS) | st.integers(0, mask)
    data = draw(st.lists(word, max_size=24).map(lambda numbers: b"".join(n.to_bytes(8, "little") for n in numbers)))
    there = Snapshot([Fragment(AT, data + draw(st.binary(max_size=64)))])
    return Call(
        abi,
        number,
        tuple(draw(word) & mask for _ in range(6)),
        limit=draw(st.integers(0, 40)),
        entered=there,
        left=draw(st.sampled_from((there, Snapshot()))),
        result=draw(st.none() | st.integers(-5, 5) | st.integers(-(1 << 63), (1 << 63) - 1)),
        errno=draw(st.sampled_from((0, 0, 0, 2, 14, 512, 516))),
    )
