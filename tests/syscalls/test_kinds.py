"""What all kinds of arguments have in common: when they read, and which memory."""

from __future__ import annotations

import pytest

from utraced.syscalls.abi import ABIS
from utraced.syscalls.basics import Buffer, Int, Path
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.memory import Fragment, Recording, Snapshot


class Where(Kind):
    """Shows one byte of memory."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        return self.memory(call).read(value, 1).decode()


def call() -> Call:
    entered = Recording(Snapshot([Fragment(0x10, b"i")]))
    left = Recording(Snapshot([Fragment(0x10, b"o")]))
    return Call(ABIS["x86_64"], 0, (0x10,) * 6, entered=entered, left=left)


@pytest.mark.parametrize(("out", "text"), [(False, "i"), (True, "o")])
def test_a_kind_shows_the_memory_of_its_moment(*, out: bool, text: str) -> None:
    assert Where(out=out).render(0x10, call()) == text


@pytest.mark.parametrize("out", [False, True])
def test_a_kind_reads_once_at_its_moment(*, out: bool) -> None:
    made, kind = call(), Where(out=out)
    kind.read_entry(0x10, made)
    kind.read_return(0x10, made)
    entered, left = made.entered, made.left
    assert isinstance(entered, Recording)
    assert isinstance(left, Recording)
    assert [bool(entered.fragments), bool(left.fragments)] == [not out, out]


def test_a_kind_must_say_how_it_is_written() -> None:
    with pytest.raises(NotImplementedError):
        Kind().render(0, call())


def test_only_buffers_have_an_extent() -> None:
    made = Call(ABIS["x86_64"], 0, (3, 0x10, 4096, 0, 0, 0))
    assert Buffer(2).extent(made) == 4096
    assert Path().extent(made) is None
    assert Int().extent(made) is None
