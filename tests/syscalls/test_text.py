"""Whole lines of a trace, as strace 6.1 writes them."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utraced.syscalls.abi import ABIS, Abi
from utraced.syscalls.basics import Address, Buffer, Fd, Int, Path, Size
from utraced.syscalls.call import Call
from utraced.syscalls.memory import Fragment, Snapshot
from utraced.syscalls.results import RETURNS_NONE
from utraced.syscalls.signature import Signature
from utraced.syscalls.text import (
    call_text,
    entry_text,
    exited_text,
    killed_text,
    mode_text,
    resumed_text,
    return_text,
    stopped_text,
    superseded_text,
    unfinished_text,
)

AT = 0x5000


class Known(Abi):
    """An ABI whose signatures this file decides."""

    SIGNATURES: ClassVar[dict[str, Signature]] = {
        "read": Signature(Fd(), Buffer("result", out=True), Size()),
        "pipe": Signature(Address(out=True)),
        "close": Signature(Fd()),
        "futex": Signature(Address(), Int()),
        "access": Signature(Path(), Int()),
        "pause": Signature(),
        "exit_group": Signature(Int(), returns=RETURNS_NONE),
        "ioctl": Signature(
            choose=lambda call: Signature(Fd(), Int()) if call.args[1] else Signature(Fd(), Int(), Address())
        ),
    }

    def signature(self, nr: int) -> Signature:
        return self.SIGNATURES.get(self.name_of(nr)) or super().signature(nr)


KNOWN = Known("x86_64", 8, 0xC000003E)


def call(name: str, *args: int, result: int | None = 0, errno: int = 0, memory: bytes = b"") -> Call:
    """Return a call with ``memory`` at AT."""
    nr = KNOWN.number(name)
    assert nr is not None
    there = Snapshot([Fragment(AT, memory)])
    return Call(KNOWN, nr, (*args, *[0] * (6 - len(args))), entered=there, left=there, result=result, errno=errno)


LINES = [
    (
        call("pause", result=-514, errno=514),
        "pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)",
    ),
    (call("close", 3), "close(3)                                = 0"),
    (call("read", 3, AT, 9, result=1, memory=b"x"), 'read(3, "x", 9)                         = 1'),
    (
        call("read", 3, AT, 9, result=-9, errno=9),
        "read(3, 0x5000, 9)                      = -1 EBADF (Bad file descriptor)",
    ),
    (
        call("access", AT, 0, memory=b"/a/long/enough/name/to/reach/it\0"),
        'access("/a/long/enough/name/to/reach/it", 0) = 0',
    ),
    (call("exit_group", 3, result=None), "exit_group(3)                           = ?"),
    (call("read", 3, AT, 9, result=None), "read(3,  <unfinished ...>)              = ?"),
    (call("pipe", AT, result=None), "pipe( <unfinished ...>)                 = ?"),
    (call("ioctl", 3, 0, 0), "ioctl(3, 0, NULL)                       = 0"),
    (call("ioctl", 3, 1, 0), "ioctl(3, 1)                             = 0"),
    (
        call("restart_syscall", result=0),
        "restart_syscall(<... resuming interrupted system call ...>) = 0",
    ),
    (
        call("syscall_0x3e7", 1, 2, 3, 4, 5, 6, result=-38, errno=38),
        "syscall_0x3e7(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)",
    ),
]


@pytest.mark.parametrize(("made", "line"), LINES)
def test_whole_lines(made: Call, line: str) -> None:
    assert call_text(made) == line


def test_a_prefix_counts_for_the_column() -> None:
    prefix = "[pid  6551] "
    assert prefix + call_text(call("close", 3), column=len(prefix)) == "[pid  6551] close(3)                    = 0"


def test_what_was_interrupted_is_named() -> None:
    made = call("restart_syscall", result=None)
    assert call_text(made, interrupted="nanosleep") == ("restart_syscall(<... resuming interrupted nanosleep ...>) = ?")
    assert entry_text(made, interrupted="read") == "restart_syscall(<... resuming interrupted read ...>"


@pytest.mark.parametrize(
    ("made", "first", "second"),
    [
        (
            call("read", 3, AT, 9, result=1, memory=b"x"),
            "read(3,  <unfinished ...>",
            '<... read resumed>"x", 9)               = 1',
        ),
        (
            call("futex", AT, 128),
            "futex(0x5000, 128 <unfinished ...>",
            "<... futex resumed>)                    = 0",
        ),
        (
            call("read", 3, AT, 9, result=None),
            "read(3,  <unfinished ...>",
            "<... read resumed> <unfinished ...>)    = ?",
        ),
        (
            call("exit_group", 0, result=None),
            "exit_group(0 <unfinished ...>",
            "<... exit_group resumed>)               = ?",
        ),
        (call("pause", result=None), "pause( <unfinished ...>", "<... pause resumed>)                    = ?"),
    ],
)
def test_broken_lines(made: Call, first: str, second: str) -> None:
    assert unfinished_text(made) == first
    assert resumed_text(made) == second
    assert resumed_text(made, column=12).replace(" ", "") == second.replace(" ", "")


@pytest.mark.parametrize(("made", "line"), LINES)
def test_the_parts_make_the_whole(made: Call, line: str) -> None:
    start = entry_text(made)
    assert start + return_text(made, column=len(start)) == line


def test_other_lines() -> None:
    assert exited_text(0) == "+++ exited with 0 +++"
    assert killed_text(9) == "+++ killed by SIGKILL +++"
    assert killed_text(3, dumped=True) == "+++ killed by SIGQUIT (core dumped) +++"
    assert superseded_text(12) == "+++ superseded by execve in pid 12 +++"
    assert stopped_text(19) == "--- stopped by SIGSTOP ---"
    assert mode_text(12, ABIS["i386"]) == "[ Process PID=12 runs in 32 bit mode. ]"
    assert mode_text(12, ABIS["x86_64"]) == "[ Process PID=12 runs in 64 bit mode. ]"
    assert mode_text(12, ABIS["x32"]) == "[ Process PID=12 runs in x32 mode. ]"


@given(
    st.sampled_from(list(ABIS.values())),
    st.integers(0, 480),
    st.tuples(*[st.integers(0, (1 << 64) - 1) | st.integers(0, 9) | st.integers(AT - 2, AT + 70)] * 6),
    st.binary(max_size=80),
    st.sampled_from([(None, 0), (0, 0), (7, 0), (-1, 1), (-512, 512), (1 << 62, 0)]),
)
def test_any_call_has_a_line(
    abi: Abi, nr: int, args: tuple[int, ...], memory: bytes, outcome: tuple[int | None, int]
) -> None:
    if abi.word == 4:
        args = tuple(arg & 0xFFFFFFFF for arg in args)
    there = Snapshot([Fragment(AT, memory)])
    made = Call(abi, nr, args, entered=there, left=there, result=outcome[0], errno=outcome[1])
    assert " = " in call_text(made)
    start = entry_text(made)
    assert start + return_text(made, column=len(start)) == call_text(made)
