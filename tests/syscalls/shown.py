"""Lines of system calls from raw arguments and memory, checked to be the same from what a worker would record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.memory import Fragment, Recording, Snapshot
from utraced.syscalls.text import call_text

AT = 0x10000
THERE = 0x20000
BAD = 0x10
PATH = 0x30000
"""Where ``line`` always puts the path ``/tmp/a``."""
MINUS_1 = (1 << 64) - 1

Memory = Mapping[int, bytes]
NOTHING: Memory = MappingProxyType({})
Outcome = int | str
"""A result, or the name of an error."""

ERRNOS = {"EPERM": 1, "ENOENT": 2, "EBADF": 9, "EFAULT": 14, "EINVAL": 22, "ENOTTY": 25, "ERANGE": 34}


class Case(NamedTuple):
    """One call and what strace 6.1 printed for it."""

    line: str
    args: tuple[int, ...] = ()
    entered: Memory = NOTHING
    left: Memory | None = None
    """None: as at entry."""
    outcome: Outcome = 0
    abi: str = "x86_64"

    def text(self) -> str:
        """Return what is printed for the call that the line names."""
        name = self.line.partition("(")[0]
        left = self.entered if self.left is None else self.left
        return line(name, self.args, self.entered, left, outcome=self.outcome, abi=self.abi)


def memory(parts: Memory) -> Snapshot:
    """Return a target's memory that has ``parts``, by address, and the path."""
    return Snapshot(Fragment(address, data) for address, data in {PATH: b"/tmp/a\0", **parts}.items())


def line(name: str, args: Iterable[int], entered: Memory, left: Memory, *, outcome: Outcome, abi: str) -> str:
    """Return the line of the call ``name``, having checked that its recording gives the same one."""
    errno = ERRNOS[outcome] if isinstance(outcome, str) else 0
    number = ABIS[abi].number(name)
    assert number is not None
    raw = tuple([*(value & MINUS_1 for value in args), 0, 0, 0, 0, 0, 0][:6])
    result = outcome if isinstance(outcome, int) else -errno
    call = Call(ABIS[abi], number, raw, entered=memory(entered), left=memory(left), result=result, errno=errno)
    text = call_text(call)
    assert call_text(recorded(call)) == text
    return text


def recorded(call: Call) -> Call:
    """Return ``call`` with no more memory than a worker, reading for its signature, records of it."""
    at_entry = Recording(call.entered)
    copy = Call(call.abi, call.nr, call.args, limit=call.limit, entered=at_entry)
    signature = call.abi.signature(call.nr).of(copy)
    for index, kind in signature.reads_entry:
        kind.read_entry(call.args[index], copy)
    copy.entered = Snapshot(at_entry.fragments)
    copy.result = call.result
    copy.errno = call.errno
    at_return = Recording(call.left)
    copy.left = at_return
    for index, kind in signature.reads_return:
        kind.read_return(call.args[index], copy)
    if not copy.errno:
        signature.returns.read_return(copy)
    copy.left = Snapshot(at_return.fragments)
    return copy


def any_call(names: Iterable[str]) -> st.SearchStrategy[Call]:
    """Return calls of ``names`` with any arguments and any memory, addresses in it being frequent."""
    numbers = [(abi, number) for abi in ABIS.values() for name in names if (number := abi.number(name)) is not None]
    word = st.one_of(
        st.integers(0, MINUS_1),
        st.integers(0, 80),
        st.sampled_from([0, AT, AT + 1, AT + 16, THERE, MINUS_1, 1 << 63, (1 << 32) - 1, (1 << 31) - 1]),
    )
    data = st.one_of(
        st.binary(max_size=400),
        st.lists(word, max_size=40).map(lambda words: b"".join(value.to_bytes(8, "little") for value in words)),
        st.binary(min_size=1, max_size=1).map(lambda byte: byte * 400),
    )

    result = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 100))

    @st.composite
    def build(draw: st.DrawFn) -> Call:
        abi, number = draw(st.sampled_from(numbers))
        mask = (1 << 32) - 1 if abi.name == "i386" else MINUS_1
        errno = draw(st.sampled_from([0, 0, 0, 9, 22, 512]))
        args = draw(st.lists(word, min_size=6, max_size=6))
        entered, left = draw(data), draw(data)
        return Call(
            abi,
            number,
            tuple(value & mask for value in args),
            limit=draw(st.sampled_from([0, 1, 32, 200])),
            entered=Snapshot([Fragment(AT, entered), Fragment(THERE, entered[:50])]),
            left=Snapshot([Fragment(AT, left), Fragment(THERE, left[:50])]),
            result=-errno if errno else draw(result),
            errno=errno,
        )

    return build()
