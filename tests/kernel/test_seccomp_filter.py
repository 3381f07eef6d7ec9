from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from utraced.kernel import seccomp_filter
from utraced.kernel.seccomp_filter import RET_ALLOW, RET_TRACE, assemble
from utraced.observing.selection import Selection
from utraced.syscalls.abi import ABIS, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, X32_SYSCALL_BIT, from_audit
from utraced.syscalls.filter import Selection as Calls

AUDIT_ARCH_AARCH64 = 0xC00000B7
ARCHES = (AUDIT_ARCH_X86_64, AUDIT_ARCH_I386)
BITS_32 = st.integers(0, (1 << 32) - 1)


def run(program: bytes, arch: int, number: int) -> int:
    """Return what a filter says of a call, and fail where it goes beyond its end."""
    data = {seccomp_filter.AT_NUMBER: number, seccomp_filter.AT_ARCH: arch}
    code = list(struct.iter_unpack("<HBBI", program))
    at, accumulator = 0, 0
    while True:
        what, true, false, value = code[at]
        at += 1
        if what == seccomp_filter.LOAD:
            accumulator = data[value]
        elif what == seccomp_filter.JUMP:
            at += value
        elif what == seccomp_filter.RETURN:
            return value
        else:
            holds = {seccomp_filter.EQUAL: accumulator == value, seccomp_filter.AT_LEAST: accumulator >= value}[what]
            at += true if holds else false


def selection(calls: Calls) -> Selection:
    made = Selection()
    made.calls = calls
    return made


def signed(number: int) -> int:
    """Return a number as PTRACE_GET_SYSCALL_INFO tells it."""
    return number if number < 1 << 31 else number - (1 << 32) + (1 << 64)


@st.composite
def chosen(draw: st.DrawFn) -> Calls:
    some = st.frozensets(st.integers(0, 500) | BITS_32, max_size=60)
    x32 = st.frozensets(st.integers(0, 600).map(lambda number: number | X32_SYSCALL_BIT), max_size=20)
    numbers = {"x86_64": draw(some), "i386": draw(some), "x32": draw(x32)}
    return Calls(draw(st.booleans()), numbers, ())


@given(chosen(), st.sampled_from(ARCHES), BITS_32 | st.integers(0, 600))
@example(Calls(False, dict.fromkeys(ABIS, frozenset()), ()), AUDIT_ARCH_X86_64, 0)
@example(Calls(True, dict.fromkeys(ABIS, frozenset()), ()), AUDIT_ARCH_X86_64, (1 << 32) - 1)
def test_it_stops_at_the_calls_that_are_wanted_and_at_no_other(calls: Calls, arch: int, number: int) -> None:
    wanted = selection(calls)
    program = assemble(wanted)
    near = {0, number, *(one + more for one in wanted.calls.numbers["i386"] for more in (-1, 0, 1))}
    for each in (each for each in near if 0 <= each < 1 << 32):
        expected = wanted.wants(from_audit(arch, signed(each)), signed(each))
        assert run(program, arch, each) == (RET_TRACE if expected else RET_ALLOW), each


@pytest.mark.parametrize("words", [("all",), ("none",), ("openat",), ("%file",), ("%file", "%network", "read@32")])
def test_every_call_of_every_abi(words: tuple[str, ...]) -> None:
    wanted = Selection(words)
    program = assemble(wanted)
    for abi in ABIS.values():
        for number in (*abi.names, max(abi.names) + 1):
            expected = RET_TRACE if wanted.wants(abi, number) else RET_ALLOW
            assert run(program, abi.arch, number) == expected, (abi, number)


def test_other_architectures_are_let_be() -> None:
    assert run(assemble(Selection()), AUDIT_ARCH_AARCH64, 0) == RET_ALLOW


def test_it_is_short() -> None:
    assert len(assemble(Selection(("openat",)))) // 8 <= 30
    scattered = frozenset(range(0, 800, 2))
    most = Calls(False, {"x86_64": scattered, "i386": scattered, "x32": frozenset()}, ())
    assert len(assemble(selection(most))) // 8 < seccomp_filter.MOST


def test_one_that_the_kernel_would_not_take_is_refused() -> None:
    scattered = frozenset(range(0, 8000, 2))
    with pytest.raises(ValueError, match="4096"):
        assemble(selection(Calls(False, dict.fromkeys(ABIS, scattered), ())))
