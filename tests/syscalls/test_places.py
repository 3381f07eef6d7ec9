"""Arguments that stand elsewhere than they are shown."""

from __future__ import annotations

import struct

from utraced.syscalls.abi import ABIS
from utraced.syscalls.basics import Hex, Int, Path
from utraced.syscalls.call import Call
from utraced.syscalls.calls.places import At, Length, Offset, Packed
from utraced.syscalls.memory import Fragment, Snapshot

AT = 0x1000
ARGS = (1, 0xFFFFFFFE, 0xFFFFFFFF, 4, 5, 6)
X86_64 = Call(ABIS["x86_64"], 0, ARGS)
I386 = Call(ABIS["i386"], 0, ARGS, entered=Snapshot([Fragment(AT, struct.pack("<II", 0xFFFFFFFF, 16))]))


def test_at_shows_another_argument_and_reads_as_its_kind_does() -> None:
    assert At(4, Int()).render(1, X86_64) == "5"
    assert At(4, Path()).reads
    assert not At(4, Int()).reads


def test_a_64_bit_number_is_one_argument_or_two() -> None:
    assert Offset(1).render(ARGS[1], X86_64) == "4294967294"
    assert Offset(1).render(ARGS[1], I386) == "-2"
    assert Length(1).render(ARGS[1], I386) == "18446744073709551614"


def test_packed_arguments_are_written_as_if_they_were_not() -> None:
    assert Packed(Int(), Hex()).render(AT, I386) == "-1, 0x10"
    assert Packed(Int(), Hex(), Hex()).render(AT, I386) == "0x1000"
    assert Packed(Int()).render(0, I386) == "NULL"
