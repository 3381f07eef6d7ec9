"""Stacks of callers, as the programs copy them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.children import needs_root
from tests.kernel.recording import ABI, recorded_bytes, recording, run
from tests.live.conftest import Programs
from utraced.api import call_records as records
from utraced.observing.stack import MOST_FRAMES

pytestmark = needs_root


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile programs once."""
    return Programs(tmp_path_factory.mktemp("programs"))


def stacks(data: bytes, name: str = "getppid") -> list[tuple[int, ...] | None]:
    """Return the stack of each entry of this call."""
    found = [head for head in records.heads(data) if head.what == records.ENTRY and ABI.name_of(head.nr) == name]
    return [records.stack(data, head.body + records.ENTERED.size, head.end) for head in found]


def told_and_recorded(program: Path, folder: Path, *words: str) -> tuple[list[str], tuple[int, ...]]:
    """Return the addresses that stacking.c tells, and the stack that is recorded of it."""
    with recording("getppid", stacks=True) as made, (folder / "told").open("w+") as told:

        def execute() -> None:
            os.dup2(told.fileno(), 1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.execv(program, ["stacking", *words])

        run(made, execute)
        (stack,) = stacks(recorded_bytes(made))
        told.seek(0)
        _, *places = told.read().split()
    assert stack is not None
    return places, stack


def test_a_stack_is_that_of_the_program(programs: Programs, tmp_path: Path) -> None:
    places, stack = told_and_recorded(programs("stacking"), tmp_path)
    assert [hex(address) for address in stack[: len(places)]] == places
    assert len(stack) > len(places), "that which called main"
    assert stack[-1] != 0


def test_a_deep_stack_is_cut(programs: Programs, tmp_path: Path) -> None:
    places, stack = told_and_recorded(programs("stacking"), tmp_path, "300")
    assert [hex(address) for address in stack[: len(places)]] == places
    assert len(set(stack[len(places) :])) == 1
    assert len(stack) == min(MOST_FRAMES, int(Path("/proc/sys/kernel/perf_event_max_stack").read_text()))


def test_strings_stand_beside_a_stack() -> None:
    with recording("access", stacks=True) as made:
        run(made, lambda: os.access("/nowhere", os.R_OK))
        data = recorded_bytes(made)
    (stack,) = stacks(data, "access")
    assert stack
    (head,) = [head for head in records.heads(data) if head.what == records.ENTRY]
    memory = list(records.fragments(data, head.body + records.ENTERED.size, head.end))
    assert [one.data for one in memory] == [b"/nowhere"]


def test_there_is_none_unless_asked_for() -> None:
    with recording("getppid") as made:
        run(made, os.getppid)
        assert stacks(recorded_bytes(made)) == [None]


def test_few_calls_have_theirs_too() -> None:
    with recording("getppid", stacks=True, by_call=True) as made:
        run(made, os.getppid)
        (stack,) = stacks(recorded_bytes(made))
    assert stack
