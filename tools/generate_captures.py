"""Write utraced/syscalls/tables/captures.py: what is copied of a caller's memory so that a call can be decoded later.

Usage: ``generate_captures.py [--check]``.  It is found by asking the decoders themselves: each is run over a memory
that notes what it is asked for, with arguments whose multiples tell lengths apart.  So what is copied and what is
decoded cannot disagree.  What a decoder reads behind pointers that lie in memory cannot be found this way; of those,
programs' arguments and scattered buffers have captures of their own, and the rest stays a pointer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from utraced.syscalls.abi import ABIS, Abi
from utraced.syscalls.call import Call
from utraced.syscalls.calls.cloning import PARENT_TID, PIDFD, SET_TID, CloneArgs
from utraced.syscalls.calls.exec import Arguments, Environment
from utraced.syscalls.calls.iovec import Iovecs
from utraced.syscalls.calls.message import Message, Messages, ReceivedMessage
from utraced.syscalls.calls.polling import SelectSigMask
from utraced.syscalls.captures import BITS, CONSTANT, LARGEST, MOST, RESULT, STACK, Capture, Captures, What
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature

TARGET = Path(__file__).resolve().parent.parent / "utraced" / "syscalls" / "tables" / "captures.py"
CHOICES = 64
"""Commands of a call that are tried, where one decides what the other arguments are."""

_LARGE = (100_003, 110_017, 120_011, 130_003, 140_009, 150_001)
_LARGE_RESULT = 160_001
_STACK = 170_003
_SMALL = (2, 3, 5, 7, 11, 13)
_SMALL_RESULT = 29
_LENGTH = 8
"""What is small in a call that is like most: a set of signals has 8 bytes."""
_ROOM = (128).to_bytes(4, "little")
"""What lies behind pointers to lengths: an address of a socket has at most 128 bytes."""
_UNLIMITED = 1 << 30
_LOW_LIMIT = 2
_ERRNOS = (4, 516)
"""EINTR and ERESTART_RESTARTBLOCK: what a call that was interrupted has still filled in."""
_UNITS = 512
_COUNT = 2
"""Which argument of sendmmsg(2) and recvmmsg(2) says how many messages there are."""
_SIGSET, _TIDS = 8, 128
"""Bytes of a set of signals, and of thread ids in as many namespaces as there can be one in the other (clone(2))."""
_FAR = 512
"""Bytes before what an argument points to end there; what is read farther on is of another kind."""


class _Read(NamedTuple):
    string: bool
    address: int
    size: int


class _Noting:
    """A memory in which everything is zero, and which notes what is asked for."""

    def __init__(self) -> None:
        self.reads: list[_Read] = []

    def read(self, address: int, size: int) -> bytes:
        """See ``Memory.read``."""
        self.reads.append(_Read(False, address, size))
        return _ROOM if size == len(_ROOM) else bytes(size) if size <= LARGEST else b""

    def string(self, address: int, limit: int) -> tuple[bytes, bool]:
        """See ``Memory.string``."""
        self.reads.append(_Read(True, address, limit))
        return b"", True


def captures_of(abi: Abi, nr: int) -> Captures:
    """Return what to copy of call ``nr``; where a command decides, what any of its forms needs."""
    entered: list[Capture] = []
    left: list[Capture] = []
    for signature in _forms(abi, nr):
        for index, kind in signature.reads_entry:
            entered += _entered(kind, index, abi)
            left += _left(kind, index, abi)
        if signature.returns.reads:
            left += _probed(signature.returns.read_return, abi, errno=0)
    return Captures(_merged(entered), _merged(left))


def _forms(abi: Abi, nr: int) -> Iterable[Signature]:
    """Return the signatures that a call may have."""
    signature = abi.signature(nr)
    if signature.choose is None:
        return [signature]
    found: dict[int, Signature] = {}
    for position in range(3):
        for command in (
            *range(CHOICES),
            *(1 << bit for bit in range(6, 31)),
            *range(1024, 1040),
            *range(0x5401, 0x5470),
        ):
            arguments = list(_LARGE)
            arguments[position] = command
            try:
                form = signature.of(Call(abi, nr, tuple(arguments), entered=_Noting()))
            except (KeyError, ValueError, IndexError):
                continue
            found[id(form)] = form
    return found.values()


def _entered(kind: Kind, index: int, abi: Abi) -> list[Capture]:
    if isinstance(kind, Arguments):
        return [Capture("strings", index, limited=True)]
    if isinstance(kind, Environment):
        return [Capture("pointers", index)]
    if isinstance(kind, Messages):
        return [_messages(index, _COUNT, abi)._replace(what="bytes")] if kind.received else []
    if isinstance(kind, Iovecs) and not kind.out:
        return _buffers(kind, index, abi)
    found = _probed(lambda call: kind.read_entry(call.args[index], call), abi)
    if isinstance(kind, SelectSigMask):
        return [*found, Capture("indirect", index, unit=abi.word, most=_SIGSET)]
    if isinstance(kind, CloneArgs):
        return [*found, Capture("indirect", index, offset=SET_TID, unit=8, most=_TIDS)]
    return [one._replace(what="message") for one in found] if isinstance(kind, Message) else found


def _left(kind: Kind, index: int, abi: Abi) -> list[Capture]:
    if isinstance(kind, Arguments | Environment):
        return []
    if isinstance(kind, Messages):
        return [_messages(index, RESULT if kind.received else _COUNT, abi)]
    if isinstance(kind, Iovecs) and kind.out:
        return _buffers(kind, index, abi)

    def read(call: Call) -> None:
        kind.read_return(call.args[index], call)

    found = _probed(read, abi, errno=0)
    if isinstance(kind, CloneArgs):
        return [Capture("indirect", index, offset=offset, unit=8, most=4) for offset in (PARENT_TID, PIDFD)]
    if isinstance(kind, ReceivedMessage):
        return [one._replace(what="message") for one in found]
    failing = [one for errno in _ERRNOS for one in _probed(read, abi, errno=errno)]
    return found + [one._replace(failing=True) for one in failing]


def _buffers(kind: Iovecs, index: int, abi: Abi) -> list[Capture]:
    count = kind.count if isinstance(kind.count, int) else CONSTANT
    what: What = "buffers" if kind.contents else "bytes"
    return [Capture(what, index, unit=2 * abi.word, counter=count, limited=True)]


def _messages(index: int, count: int, abi: Abi) -> Capture:
    """Return the capture of an array of ``struct mmsghdr``, each a ``struct msghdr`` and a length."""
    return Capture("messages", index, unit=8 * abi.word, counter=count, limited=True)


def _probed(read: Callable[[Call], None], abi: Abi, *, errno: int | None = None) -> list[Capture]:
    """Return what ``read`` asks for; ``errno`` is that of a call that has returned."""
    large = _asked(read, abi, _LARGE, _LARGE_RESULT, errno, _UNLIMITED)
    if not large:
        return _like_most(read, abi, errno)
    small = _asked(read, abi, _SMALL, _SMALL_RESULT, errno, _UNLIMITED)
    low = _asked(read, abi, _LARGE, _LARGE_RESULT, errno, _LOW_LIMIT)
    found: list[Capture] = []
    for place, one in enumerate(large):
        argument = _argument(one.address)
        if argument is None or not one.size:
            continue
        offset = one.address - (_STACK if argument == STACK else _LARGE[argument])
        limited = place < len(low) and low[place].size != one.size
        if one.string:
            found.append(Capture("string", argument, offset, most=min(one.size, LARGEST), limited=limited))
            continue
        unit, count = one.size, CONSTANT
        if place < len(small):
            unit, count = _length(one.size, small[place].size)
        if count == CONSTANT:
            unit = min(unit, _FAR if offset else LARGEST)
            found.append(Capture("bytes", argument, offset, unit, CONSTANT, unit))
        else:
            found.append(Capture("bytes", argument, offset, unit, count, min(one.size, LARGEST), limited))
    return found


def _argument(address: int) -> int | None:
    if 0 <= address - _STACK < _FAR:
        return STACK
    return next((i for i, value in enumerate(_LARGE) if 0 <= address - value < _FAR), None)


def _like_most(read: Callable[[Call], None], abi: Abi, errno: int | None) -> list[Capture]:
    """Return what a call asks for whose lengths are small, each argument in turn taken for the pointer."""
    found = []
    for argument, address in enumerate(_LARGE):
        args = [_LENGTH] * len(_LARGE)
        args[argument] = address
        for one in _asked(read, abi, tuple(args), _LENGTH, errno, _UNLIMITED):
            if one.address == address and one.size and not one.string:
                found.append(Capture("bytes", argument, 0, one.size, CONSTANT, one.size))
    return found


def _length(large: int, small: int) -> tuple[int, int]:
    """Return a unit and what counts it, from a length as it came out with large and with small arguments."""
    for index, number in enumerate((*_LARGE, _LARGE_RESULT)):
        if large == (number + 63) // 64 * 8 or (small == 8 and large == 8192):
            return BITS, index
    if small == -(-_SMALL_RESULT // 8) * 8 != large:
        return 1, RESULT  # in whole longs, as many as the kernel fills in
    for numbers, length in (((*_LARGE, _LARGE_RESULT), large), ((*_SMALL, _SMALL_RESULT), small)):
        for index, number in enumerate(numbers):
            unit = length // number
            if length % number or not 0 < unit <= _UNITS:
                continue
            # With small numbers alone a length may be a multiple of several.
            if numbers[0] == _LARGE[0] or (small != large and small * _LARGE[0] // number >= large):
                return unit, index
    return large, CONSTANT


def _asked(  # noqa: PLR0913, PLR0917 - the parts of a call
    read: Callable[[Call], None], abi: Abi, args: tuple[int, ...], result: int, errno: int | None, limit: int
) -> list[_Read]:
    entered, left = _Noting(), _Noting()
    call = Call(abi, 0, args, limit=limit, entered=entered, left=left, sp=_STACK)
    if errno is not None:
        call.result, call.errno = (-errno, errno) if errno else (result, 0)
    try:
        read(call)
    except (KeyError, ValueError, IndexError, MemoryError, OverflowError):
        return []
    # What is asked of the other memory is copied at the other moment.
    return entered.reads if errno is None else left.reads


def _merged(found: list[Capture]) -> tuple[Capture, ...]:
    """Return the captures without those that others of the same place hold."""
    kept: dict[tuple[str, int, int], Capture] = {}
    for one in found:
        key = one.what, one.argument, one.offset
        other = kept.get(key)
        if other is None:
            kept[key] = one
        elif other.counter == one.counter and other.unit == one.unit:
            kept[key] = other._replace(failing=other.failing or one.failing, most=max(other.most, one.most))
        else:
            # Forms that disagree on the length: as much as the larger needs.
            size = max(
                other.most if other.counter != CONSTANT else other.unit,
                one.most if one.counter != CONSTANT else one.unit,
            )
            size = min(size, 512)
            kept[key] = Capture(one.what, one.argument, one.offset, size, CONSTANT, size, failing=True)
    return tuple(kept.values())[:MOST]


def _kept(found: Captures) -> tuple[tuple[tuple[object, ...], ...], tuple[tuple[object, ...], ...]]:
    """Return captures as the table has them, without what is as by default at their ends."""
    return tuple(_short(one) for one in found.entered), tuple(_short(one) for one in found.left)


def _short(one: Capture) -> tuple[object, ...]:
    values: list[object] = list(one)
    defaults = list(Capture(one.what, one.argument))
    while len(values) > 2 and values[-1] == defaults[len(values) - 1]:
        values.pop()
    return tuple(values)


def text() -> str:
    """Return the table's file."""
    parts = ['"""Generated by tools/generate_captures.py; do not edit."""\n\nfrom typing import Any\n']
    parts.append("\nCAPTURES: dict[str, dict[str, tuple[Any, Any]]] = {\n")
    for name in ("x86_64", "i386"):
        abi = ABIS[name]
        parts.append(f'    "{name}": {{\n')
        for nr, call in sorted(abi.names.items(), key=lambda item: item[1]):
            found = captures_of(abi, nr)
            if found.entered or found.left:
                parts.append(f'        "{call}": {_kept(found)!r},\n'.replace("'", '"'))
        parts.append("    },\n")
    parts.append("}\n")
    return "".join(parts)


def main(options: Sequence[str] | None = None) -> int:
    """Write or check the table."""
    parser = argparse.ArgumentParser(description="write the table of captures from the decoders of system calls")
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when the table differs")
    chosen = parser.parse_args(options)
    wanted = text()
    if TARGET.exists() and TARGET.read_text() == wanted:
        return 0
    if chosen.check:
        print(f"{TARGET.name} differs from what the decoders read", file=sys.stderr)
        return 1
    TARGET.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
