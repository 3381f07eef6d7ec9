"""The shared kinds of arguments: raw values and memory, and strace 6.1's text for them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS
from utraced.syscalls.basics import (
    Address,
    Array,
    Buffer,
    DirFd,
    Enum,
    Fd,
    Flags,
    Hex,
    Int,
    Long,
    Mode,
    Octal,
    Path,
    Pid,
    Pointer,
    Signal,
    Size,
    Struct,
    Text,
    Unsigned,
    UnsignedLong,
    enum_text,
    flags_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.memory import Fragment, Recording, Snapshot

AT = 0x5000
MINUS_1 = (1 << 64) - 1
WHENCE = ((0, "SEEK_SET"), (1, "SEEK_CUR"))
MODES = ((0, "O_RDONLY"), (1, "O_WRONLY"), (0x40, "O_CREAT"))
BITS = ((3, "BOTH"), (1, "ONE"), (2, "TWO"))


def call(
    *args: int, memory: bytes = b"", result: int | None = 0, errno: int = 0, limit: int = 32, abi: str = "x86_64"
) -> Call:
    """Return a call with ``memory`` at AT, before and after it."""
    there = Snapshot([Fragment(AT, memory)])
    raw = tuple([*args, 0, 0, 0, 0, 0, 0][:6])
    return Call(ABIS[abi], 0, raw, limit=limit, entered=there, left=there, result=result, errno=errno)


class Pair(Struct):
    """Two ints in braces."""

    def text(self, data: bytes, call: Call) -> str:
        first, second = struct.unpack("<ii", data)
        return f"{{{first}, {second}}}"


NUMBERS = [
    (Int(), MINUS_1, "-1"),
    (Int(), 0xFFFFFFFF, "-1"),
    (Int(), 0x1_0000_0005, "5"),
    (Fd(), 0xFFFFFFFF, "-1"),
    (Pid(), 7, "7"),
    (Long(), MINUS_1, "-1"),
    (Long(), 0xFFFFFFFF, "4294967295"),
    (Unsigned(), MINUS_1, "4294967295"),
    (UnsignedLong(), MINUS_1, "18446744073709551615"),
    (Size(), 4096, "4096"),
    (Hex(), 0, "0"),
    (Hex(), 0x4D, "0x4d"),
    (Address(), 0, "NULL"),
    (Address(), AT, "0x5000"),
    (Octal(), 0, "0"),
    (Octal(), 0o644, "0644"),
    (Mode(), 0, "000"),
    (Mode(), 7, "007"),
    (Mode(), 0o12, "012"),
    (Mode(), 0o644, "0644"),
    (Mode(), 0o7777, "07777"),
    (Mode(), MINUS_1, "0177777"),
    (DirFd(), MINUS_1 - 99, "AT_FDCWD"),
    (DirFd(), 0xFFFFFF9C, "AT_FDCWD"),
    (DirFd(), 3, "3"),
    (Signal(), 10, "SIGUSR1"),
    (Signal(), 0, "0"),
    (Signal(), MINUS_1, "-1"),
    (Enum(WHENCE, "SEEK_???"), 1, "SEEK_CUR"),
    (Enum(WHENCE, "SEEK_???"), 99, "0x63 /* SEEK_??? */"),
    (Enum(WHENCE), 99, "0x63"),
    (Enum(((1, "X"),), "X_???"), 0, "0 /* X_??? */"),
    (Enum(((-1, "ALL"),)), 0xFFFFFFFF, "ALL"),
    (Flags(MODES, "O_???"), 0, "O_RDONLY"),
    (Flags(MODES, "O_???"), 0x41, "O_WRONLY|O_CREAT"),
    (Flags(MODES, "O_???"), 0x49, "O_WRONLY|O_CREAT|0x8"),
    (Flags(MODES, "O_???"), 8, "0x8 /* O_??? */"),
    (Flags(BITS), 3, "BOTH"),
    (Flags(BITS), 2, "TWO"),
    (Flags(BITS), 8, "0x8"),
    (Flags(BITS), 0, "0"),
]


@pytest.mark.parametrize(("kind", "value", "text"), NUMBERS)
def test_numbers(kind: Kind, value: int, text: str) -> None:
    assert kind.render(value, call()) == text
    assert kind.render(value, call()) == text


def test_the_width_of_a_long_is_the_callers() -> None:
    assert Long().render(0xFFFFFFFF, call(abi="i386")) == "-1"


ENOUGH = b"0123456789012345678901234567890123456789"
MEMORY = [
    (Path(), call(memory=b"/etc/passwd\0"), '"/etc/passwd"'),
    (Path(), call(memory=b"\0"), '""'),
    (Path(), call(memory=ENOUGH + b"\0"), f'"{ENOUGH.decode()}"'),
    (Path(), call(memory=b"a" * 5000), '"' + "a" * 4095 + '"...'),
    (Path(), call(memory=b"never ends"), "0x5000"),
    (Path(), call(), "0x5000"),
    (Path(out=True), call(memory=b"x\0", errno=2), "0x5000"),
    (Text(), call(memory=ENOUGH[:32] + b"\0"), f'"{ENOUGH[:32].decode()}"'),
    (Text(), call(memory=ENOUGH[:33] + b"\0"), f'"{ENOUGH[:32].decode()}"...'),
    (Text(), call(memory=b"never ends"), "0x5000"),
    (Text(), call(memory=b"abc\0", limit=2), '"ab"...'),
    (Buffer(1), call(0, 3, memory=b"abcdef"), '"abc"'),
    (Buffer(1), call(0, 0, memory=b"abcdef"), '""'),
    (Buffer(1), call(0, 32, memory=ENOUGH), f'"{ENOUGH[:32].decode()}"'),
    (Buffer(1), call(0, 33, memory=ENOUGH), f'"{ENOUGH[:32].decode()}"...'),
    (Buffer(1), call(0, MINUS_1, memory=ENOUGH), f'"{ENOUGH[:32].decode()}"...'),
    (Buffer(1), call(0, 9, memory=b"abcdef"), "0x5000"),
    (Buffer("result", out=True), call(0, 9, memory=b"abcdef", result=2), '"ab"'),
    (Buffer("result", out=True), call(0, 9, memory=b"abcdef", result=None, errno=14), "0x5000"),
    (Buffer(lambda c: c.args[1] * 2), call(0, 2, memory=b"abcdef"), '"abcd"'),
    (Pointer(Int()), call(memory=struct.pack("<i", -3)), "[-3]"),
    (Pointer(Long(), 0), call(memory=struct.pack("<q", -3)), "[-3]"),
    (Pointer(Int()), call(memory=b"abc"), "0x5000"),
    (Pointer(Int(), out=True), call(memory=b"abcd", errno=1), "0x5000"),
    (Pair(8), call(memory=struct.pack("<ii", 1, 2)), "{1, 2}"),
    (Pair(8), call(memory=b"1234567"), "0x5000"),
    (Array(Int(), 1), call(0, 0, memory=b""), "[]"),
    (Array(Int(), 1), call(0, 3, memory=struct.pack("<3i", 1, 2, 3)), "[1, 2, 3]"),
    (Array(Int(), 1), call(0, 33, memory=bytes(4 * 33)), "[" + "0, " * 32 + "...]"),
    (Array(Int(), 1), call(0, 32, memory=bytes(4 * 32)), "[" + "0, " * 31 + "0]"),
    (Array(Int(), 1), call(0, 3, memory=bytes(4 * 2 + 1)), "[0, 0, ... /* 0x5008 */]"),
    (Array(Int(), 1), call(0, 3, memory=b"abc"), "0x5000"),
    (Array(Int(), 1), call(0, MINUS_1, memory=bytes(400)), "0x5000"),
    (Array(Pair(8), lambda _: 2), call(memory=struct.pack("<4i", 1, 2, 3, 4)), "[{1, 2}, {3, 4}]"),
    (Array(Hex(), 1, size=0), call(0, 2, memory=struct.pack("<2Q", 1, 2)), "[0x1, 0x2]"),
    (Array(Hex(), 1, size=0), call(0, 2, memory=struct.pack("<2I", 1, 2), abi="i386"), "[0x1, 0x2]"),
    (Array(Int(), "result", out=True), call(memory=bytes(40), result=-1, errno=9), "0x5000"),
]


@pytest.mark.parametrize(("kind", "made", "text"), MEMORY)
def test_memory(kind: Kind, made: Call, text: str) -> None:
    assert kind.reads
    assert kind.render(AT, made) == text


@pytest.mark.parametrize("kind", [Path(), Text(), Buffer(1), Pointer(Int()), Pair(8), Array(Int(), 1)])
def test_null_is_not_followed(kind: Kind) -> None:
    assert kind.render(0, call(0, 3)) == "NULL"


def test_tables_by_function() -> None:
    assert flags_text(0x41, MODES) == "O_WRONLY|O_CREAT"
    assert enum_text(1, WHENCE, "SEEK_???") == "SEEK_CUR"
    assert enum_text(9, WHENCE, "SEEK_???") == "0x9 /* SEEK_??? */"
    assert enum_text(0, ((0, "FIRST"), (0, "SECOND"))) == "FIRST"


KINDS = [kind for kind, _, _ in NUMBERS] + [kind for kind, _, _ in MEMORY]


@given(
    st.sampled_from(KINDS),
    st.tuples(*[st.integers(0, MINUS_1) | st.integers(AT - 2, AT + 70)] * 6),
    st.binary(max_size=80),
    st.tuples(st.sampled_from([None, 0, 3, -1, (1 << 63) - 1]), st.sampled_from([0, 14, 512])),
    st.tuples(st.sampled_from([0, 1, 32, 4096]), st.sampled_from(["x86_64", "i386", "x32"])),
)
def test_a_replay_shows_what_was_recorded(
    kind: Kind, args: tuple[int, ...], memory: bytes, outcome: tuple[int | None, int], shown: tuple[int, str]
) -> None:
    (result, errno), (limit, abi) = outcome, shown
    if abi != "x86_64":
        args = tuple(arg & 0xFFFFFFFF for arg in args)
    made = call(*args, memory=memory, result=result, errno=errno, limit=limit, abi=abi)
    recording = Recording(made.entered)
    made.entered = made.left = recording
    live = kind.render(args[0], made)
    made.entered = made.left = Snapshot(recording.fragments)
    assert kind.render(args[0], made) == live
