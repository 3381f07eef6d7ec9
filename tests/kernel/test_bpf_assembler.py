"""Instructions as the kernel's macros encode them (include/linux/filter.h), labels, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.kernel.bpf_assembler import FP, R0, R1, R2, R9, Program

Write = Callable[[Program], None]

ENCODED: list[tuple[str, Write, str]] = [
    ("mov", lambda p: p.mov(R1, R2), "bf21000000000000"),
    ("set", lambda p: p.set(R0, -1), "b7000000ffffffff"),
    ("load", lambda p: p.load(R1, 0x1122334455667788), "18010000887766550000000044332211"),
    ("load_map", lambda p: p.load_map(R1, 5), "18510000050000000000000000000000"),
    ("load_value", lambda p: p.load_value(R1, 5, 16), "18610000050000000000000010000000"),
    ("add a number", lambda p: p.compute("add", R1, value=-8), "07010000f8ffffff"),
    ("and a register", lambda p: p.compute("and", R1, source=R2), "5f21000000000000"),
    ("arsh", lambda p: p.compute("arsh", R1, value=3), "c701000003000000"),
    ("narrow", lambda p: p.narrow(R2), "bc22000000000000"),
    ("ldx u8", lambda p: p.ldx("u8", R1, R2, 3), "7121030000000000"),
    ("ldx u16", lambda p: p.ldx("u16", R1, R2, 3), "6921030000000000"),
    ("ldx u32", lambda p: p.ldx("u32", R1, R2, 3), "6121030000000000"),
    ("ldx u64", lambda p: p.ldx("u64", R1, R2, -8), "7921f8ff00000000"),
    ("stx", lambda p: p.stx("u64", FP, -8, R1), "7b1af8ff00000000"),
    ("st", lambda p: p.st("u32", FP, -4, 7), "620afcff07000000"),
    ("add_atomic", lambda p: p.add_atomic("u64", R0, 8, R1), "db10080000000000"),
    ("call", lambda p: p.call(14), "850000000e000000"),
    ("call_kernel", lambda p: p.call_kernel(7), "8520000007000000"),
    ("exit", lambda p: p.exit(), "9500000000000000"),
]


@pytest.mark.parametrize(("write", "code"), [case[1:] for case in ENCODED], ids=[case[0] for case in ENCODED])
def test_an_instruction_is_encoded_as_the_kernel_has_it(write: Write, code: str) -> None:
    program = Program()
    write(program)
    assert program.code().hex() == code
    assert len(program) == len(code) // 16


def test_jumps_go_forwards_and_backwards() -> None:
    program = Program()
    program.label("again")
    program.jump("eq", R1, "out", value=0)
    program.jump32("ne", R1, "again", source=R2)
    program.goto("again")
    program.label("out")
    program.exit()
    assert program.code().hex() == "1501020000000000" + "5e21feff00000000" + "0500fdff00000000" + "9500000000000000"


def test_a_loop_may_have_no_bound() -> None:
    program = Program()
    program.label("again")
    program.may_goto("out")
    program.goto("again")
    program.label("out")
    program.exit()
    assert program.code().hex() == "e500010000000000" + "0500feff00000000" + "9500000000000000"


def test_a_label_is_there_once() -> None:
    program = Program()
    program.label("here")
    with pytest.raises(ValueError, match="two labels"):
        program.label("here")


def test_a_label_is_somewhere() -> None:
    program = Program()
    program.goto("nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        program.code()


def test_a_jump_is_not_too_far() -> None:
    program = Program()
    program.goto("far")
    for _ in range(1 << 15):
        program.exit()
    program.label("far")
    with pytest.raises(ValueError, match="does not fit"):
        program.code()


@pytest.mark.parametrize("value", [1 << 32, -(1 << 31) - 1])
def test_a_number_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        Program().set(R0, value)


def test_an_operand_is_a_number_or_a_register() -> None:
    with pytest.raises(ValueError, match="one of"):
        Program().compute("add", R0)
    with pytest.raises(ValueError, match="one of"):
        Program().compute("add", R0, value=1, source=R1)


def test_there_are_eleven_registers() -> None:
    with pytest.raises(ValueError, match="register"):
        Program().mov(11, R0)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 9))
def test_any_number_of_64_bits_can_be_loaded(value: int, target: int) -> None:
    program = Program()
    program.load(target, value)
    code = program.code()
    assert int.from_bytes(code[4:8], "little") | int.from_bytes(code[12:16], "little") << 32 == value
    assert code[1] == target <= R9
