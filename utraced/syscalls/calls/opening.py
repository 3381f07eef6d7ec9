"""Opening and closing files: open, openat2, close, dup, pipe and the like."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    Array,
    DirFd,
    Fd,
    Flags,
    Int,
    Mode,
    Path,
    Struct,
    Unsigned,
    UnsignedLong,
    address_text,
    enum_text,
    flags_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.files import ACCESS_MODES, CLOSE_RANGE_FLAGS, OPEN_FLAGS, RESOLVE_FLAGS

O_ACCMODE = 3
O_CREAT = 0o100
O_TMPFILE = 0o20000000
"""Without the O_DIRECTORY that fcntl.h adds to it."""
OPEN_HOW = struct.Struct("<QQQ")


def open_flags_text(flags: int) -> str:
    """Return the access mode and the other flags of open."""
    mode = enum_text(flags & O_ACCMODE, ACCESS_MODES)
    rest = flags & ~O_ACCMODE
    return f"{mode}|{flags_text(rest, OPEN_FLAGS)}" if rest else mode


class OpenFlags(Kind):
    """The flags of open, its access mode first."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return open_flags_text(value & 0xFFFFFFFF)


class OpenHow(Struct):
    """``struct open_how`` (openat2(2)), whose length is the argument after it; it may be longer than is known here."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``; what follows the known part is read apart."""
        return OPEN_HOW.size

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        size = call.args[3]
        text = super().render(value, call) if size >= OPEN_HOW.size else address_text(value)
        if size == OPEN_HOW.size or not text.startswith("{"):
            return text
        shown = min(size - OPEN_HOW.size, call.limit)
        rest = call.entered.read(value + OPEN_HOW.size, shown)
        if len(rest) < shown:
            return f"{text}, ???}}"
        if not any(rest):
            return f"{text}}}"
        more = "..." if size - OPEN_HOW.size > shown else ""
        data = "".join(f"\\x{byte:02x}" for byte in rest)
        return f'{text}, /* bytes {OPEN_HOW.size}..{size - 1} */ "{data}"{more}}}'

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``; open at its end where more is to follow."""
        flags, mode, resolve = OPEN_HOW.unpack(data)
        parts = [f"flags={open_flags_text(flags)}"]
        if mode or flags & (O_CREAT | O_TMPFILE):
            parts.append(f"mode={f'0{mode:o}' if mode else '0':0>3}")
        parts.append(f"resolve={flags_text(resolve, RESOLVE_FLAGS, 'RESOLVE_???')}")
        return f"{{{', '.join(parts)}{'}' if call.args[3] == OPEN_HOW.size else ''}"


def creates(flags: int) -> bool:
    """Return whether open with ``flags`` takes a mode."""
    return bool(flags & (O_CREAT | O_TMPFILE))


_FD = Fd()
_DIR = DirFd()
_PATH = Path()
_FLAGS = OpenFlags()
_PIPE = Array(Int(), lambda _: 2, out=True)
_FD_FLAGS = Flags(OPEN_FLAGS, "O_???")
_OPEN = Signature(_PATH, _FLAGS)
_OPEN_MODE = Signature(_PATH, _FLAGS, Mode())
_OPENAT = Signature(_DIR, _PATH, _FLAGS)
_OPENAT_MODE = Signature(_DIR, _PATH, _FLAGS, Mode())

SIGNATURES = {
    "open": Signature(choose=lambda call: _OPEN_MODE if creates(call.args[1]) else _OPEN),
    "openat": Signature(choose=lambda call: _OPENAT_MODE if creates(call.args[2]) else _OPENAT),
    "openat2": Signature(_DIR, _PATH, OpenHow(), UnsignedLong()),
    "creat": Signature(_PATH, Mode()),
    "close": Signature(_FD),
    "close_range": Signature(Unsigned(), Unsigned(), Flags(CLOSE_RANGE_FLAGS, "CLOSE_RANGE_???")),
    "dup": Signature(_FD),
    "dup2": Signature(_FD, _FD),
    "dup3": Signature(_FD, _FD, _FD_FLAGS),
    "pipe": Signature(_PIPE),
    "pipe2": Signature(_PIPE, _FD_FLAGS),
}
