"""Which calls make a process another's."""

from __future__ import annotations

import pytest

from utraced.kernel.perf_calls import Watched, leaves, numbers, watched
from utraced.syscalls.abi import ABIS

OWNER = 1000, 100
MINUS = (1 << 64) - 1


def call(name: str, abi: int = 0) -> Watched:
    number = ABIS[("x86_64", "i386")[abi]].numbers[name]
    return watched(guarded=True)[abi, number]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("prctl", (4, 0), True),
        ("prctl", (4, 1), False),
        ("prctl", (4, 2), True),
        ("prctl", (15, 0), False),
        ("unshare", (0x10000000, 0), True),
        ("unshare", (0x00020000, 0), False),
        ("setns", (3, 0), True),
        ("setns", (3, 0x10000000), True),
        ("setns", (3, 0x40000000), False),
        ("clone", (0x10000011, 0), True),
        ("clone", (0x11, 0), False),
        ("fork", (0x10000011, 0), False),
        ("clone3", (0x10000011, 0), False),
        ("setuid", (1000, 5), False),
        ("setuid", (0, 0), True),
        ("setgid", (1000, 0), True),
        ("setgid", (100, 0), False),
        ("setreuid", (MINUS, 1000), False),
        ("setreuid", (MINUS, 1001), True),
        ("setresuid", (MINUS, 1000, 0), True),
        ("setresgid", (MINUS, 100, 0xFFFFFFFF), False),
        ("setfsuid", (65535, 0), True),
        ("exit", (4, 0), False),
    ],
)
def test_by_number_and_arguments(name: str, arguments: tuple[int, ...], expected: bool) -> None:
    given = (*arguments, *[7] * (6 - len(arguments)))
    assert leaves(call(name), given, OWNER, moved=False) is expected


def test_in_another_namespace_any_change_may_be_to_another_user() -> None:
    assert leaves(call("setuid"), (1000, 0), OWNER, moved=True)


def test_calls_of_16_bits_have_another_number_for_no_change() -> None:
    assert not leaves(call("setreuid", 1), (0xFFFF, 0xAB03E8), OWNER, moved=False)
    assert leaves(call("setreuid32", 1), (0xFFFF, 1000), OWNER, moved=False)


def test_only_of_users_it_matters_what_their_processes_become() -> None:
    assert set(watched(guarded=False)) < set(watched(guarded=True))
    abi = ABIS["x86_64"].numbers
    assert {abi["exit_group"], abi["clone3"], abi["vfork"]} <= set(numbers(guarded=False))
    assert abi["prctl"] not in set(numbers(guarded=False)) - set(ABIS["i386"].names)
    assert {abi["prctl"], abi["prctl"] | 1 << 30} <= set(numbers(guarded=True))
