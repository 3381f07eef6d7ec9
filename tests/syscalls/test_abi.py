"""ABIs: names, numbers, and what tells them apart."""

from __future__ import annotations

import pytest

from utraced.syscalls.abi import ABIS, Abi, from_audit
from utraced.syscalls.signature import Signature

X86_64, I386, X32 = ABIS["x86_64"], ABIS["i386"], ABIS["x32"]
BIT = 0x40000000


@pytest.mark.parametrize(
    ("arch", "nr", "abi"),
    [
        (0xC000003E, 0, X86_64),
        (0xC000003E, 0xFFFFFFFFFFFFFFFF, X86_64),
        (0xC000003E, BIT | 1, X32),
        (0x40000003, 3, I386),
    ],
)
def test_the_kernel_tells_the_abi(arch: int, nr: int, abi: Abi) -> None:
    assert from_audit(arch, nr) is abi


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="0xc00000b7"):
        from_audit(0xC00000B7, 0)


@pytest.mark.parametrize(
    ("abi", "nr", "name"),
    [
        (X86_64, 0, "read"),
        (X86_64, 39, "getpid"),
        (X86_64, 262, "newfstatat"),
        (X86_64, 452, "fchmodat2"),
        (X86_64, 469, "file_setattr"),
        (I386, 3, "read"),
        (I386, 102, "socketcall"),
        (I386, 462, "mseal"),
        (X32, BIT | 39, "getpid"),
        (X32, BIT | 512, "rt_sigaction"),
        (X32, BIT | 13, "rt_sigaction#64"),
    ],
)
def test_names(abi: Abi, nr: int, name: str) -> None:
    assert abi.name_of(nr) == name
    assert abi.number(name) == nr


@pytest.mark.parametrize(
    ("abi", "nr", "name"),
    [
        (X86_64, 999, "syscall_0x3e7"),
        (X86_64, -1, "syscall_0xffffffffffffffff"),
        (X86_64, 512, "syscall_0x200"),
        (X32, BIT | 999, "syscall_0x400003e7"),
    ],
)
def test_unknown_calls_are_named_after_their_number(abi: Abi, nr: int, name: str) -> None:
    assert abi.name_of(nr) == name


def test_numbers_of_no_call() -> None:
    assert X86_64.number("waitpid") is None
    assert X86_64.number("syscall_0x3e7") == 999
    assert X86_64.number("syscall_0xzz") is None
    assert I386.number("waitpid") == 7


def test_every_call_has_a_signature_and_keeps_it() -> None:
    for abi in ABIS.values():
        for nr in abi.names:
            signature = abi.signature(nr)
            assert isinstance(signature, Signature)
            assert len(signature.kinds) <= 6
            assert abi.signature(nr) is signature


def test_an_unknown_call_shows_six_arguments() -> None:
    assert len(X86_64.signature(999).kinds) == 6
