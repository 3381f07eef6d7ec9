"""Plans as the programs read them, and offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.recording import needs_bpf
from tests.kernel.test_btf import made
from utraced.errors import Unsupported
from utraced.kernel import bpf_layout as layout
from utraced.kernel.btf import Btf
from utraced.syscalls.abi import ABIS
from utraced.syscalls.captures import BITS, NOTHING, Capture, Captures, captures_of


def operation(plan: bytes, at: int) -> tuple[int, ...]:
    size = layout.OPERATION_SIZE
    kind, argument, count, flags = plan[at : at + 4]
    numbers = [int.from_bytes(plan[at + start : at + start + 4], "little") for start in range(4, size, 4)]
    return (kind, argument, count, flags, *numbers)


def test_a_call_that_points_nowhere_is_only_wanted() -> None:
    plan = layout.plan(NOTHING, strings=32, largest=4096)
    assert len(plan) == layout.PLAN_SIZE
    assert plan[0] == layout.PLAN_WANTED
    assert not any(plan[1:])


def test_a_string_has_room_for_what_tells_that_it_goes_on() -> None:
    plan = layout.plan(Captures((Capture("string", 1, limited=True),), ()), strings=32, largest=4096)
    assert operation(plan, layout.PLAN_ENTERED) == (layout.STRING, 1, 0, 0, 0, 34, 0)


def test_bytes_at_return_are_at_most_the_limit() -> None:
    one = Capture("bytes", 2, 8, unit=4, counter=6, most=1000, limited=True, failing=True)
    plan = layout.plan(Captures((), (one,)), strings=32, largest=4096)
    assert operation(plan, layout.PLAN_LEFT) == (layout.BYTES, 2, 6, layout.ON_FAILURE, 4, 128, 8)


def test_bits_are_not_limited() -> None:
    one = Capture("bytes", 1, unit=BITS, counter=0, most=1000)
    plan = layout.plan(Captures((one,), ()), strings=2, largest=4096)
    assert operation(plan, layout.PLAN_ENTERED)[4:6] == (0, 1000)


def test_the_strings_of_a_program_come_after_its_pointers() -> None:
    plan = layout.plan(captures_of(ABIS["x86_64"], 59), strings=32, largest=32768)
    assert plan[layout.PLAN_STRINGS : layout.PLAN_STRINGS + 2] == bytes([layout.PROGRAM_ARGUMENTS, 1])


@given(st.sampled_from(sorted(ABIS["x86_64"].names)), st.integers(0, 65_536), st.integers(2, 65_538))
def test_no_capture_is_larger_than_allowed(nr: int, strings: int, largest: int) -> None:
    plan = layout.plan(captures_of(ABIS["x86_64"], nr), strings=strings, largest=largest)
    assert len(plan) == layout.PLAN_SIZE
    for at in range(layout.PLAN_ENTERED, layout.PLAN_STRINGS, layout.OPERATION_SIZE):
        kind, _, _, _, _, most, _ = operation(plan, at)
        assert kind in {0, layout.STRING, layout.BYTES}
        assert most <= largest


def test_programs_need_what_the_plans_have() -> None:
    abi = ABIS["x86_64"]
    plans = {
        name: layout.plan(captures_of(abi, abi.numbers[name]), strings=32, largest=32768)
        for name in ("getppid", "openat", "read", "execve", "readv", "writev")
    }

    def needed(*names: str) -> layout.Needs:
        return layout.needs(plans[name] for name in names)

    string, some = frozenset({layout.STRING}), frozenset({layout.BYTES})
    nothing: frozenset[int] = frozenset()
    assert needed("getppid") == ((), (), nothing, nothing)
    assert needed("openat", "getppid") == ((string,), (), nothing, {1})
    assert needed("read") == ((), (some,), nothing, nothing)
    assert needed("execve").special == {layout.PROGRAM_ARGUMENTS}
    assert needed("readv", "writev").special == {layout.BUFFERS_ENTERED, layout.BUFFERS_LEFT}
    both = needed("openat", "writev")
    assert both.entered[0] == string | some


def test_the_offsets_of_the_running_kernel() -> None:
    offsets = layout.offsets_of(needs_bpf())
    assert len(set(offsets.uids + offsets.gids)) == 8
    assert offsets.register("di") == 112
    assert len({offsets.tracepoint(name) for name in layout.TRACEPOINTS}) == 7


def test_what_makes_a_plain_pointer_is_looked_up_on_its_own() -> None:
    btf = needs_bpf()
    assert layout.cast_of(btf) != 0
    assert layout.cast_of(Btf(made())) is None


def test_a_kernel_without_a_member_is_not_supported() -> None:
    with pytest.raises(Unsupported, match="no type task_struct") as caught:
        layout.offsets_of(Btf(made()))
    assert caught.value.data["feature"] == "backend.kernel"
