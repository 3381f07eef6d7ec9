"""fcntl: its command decides what the rest is."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import MASK_32, Enum, Fd, Flags, Hex, Int, Pid, Signal, Struct, enum_text, flags_text
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.results import RETURNS_HEX, ReturnsWith
from utraced.syscalls.signals import signal_name
from utraced.syscalls.signature import RETURNS_INT, Returns, Signature
from utraced.syscalls.tables.files import (
    FCNTL_COMMANDS,
    FD_FLAGS,
    LOCK_TYPES,
    NOTIFY_FLAGS,
    OWNER_TYPES,
    SEALS,
    WHENCES,
)

from .opening import OpenFlags, open_flags_text

_OWNER = struct.Struct("<ii")


class Flock(Struct):
    """``struct flock``, or ``struct flock64`` where ``wide``; with the lock's owner where the kernel fills it in."""

    __slots__ = ("narrow", "wide")

    def __init__(self, *, wide: bool = False, out: bool = False) -> None:
        super().__init__(out=out)
        self.wide = struct.Struct("<hh4xqqi4x")
        self.narrow = struct.Struct("<hhqqi" if wide else "<hhiii")

    def layout(self, call: Call) -> struct.Struct:
        """Return the layout for the caller's ABI: i386 aligns 64-bit numbers to 4 bytes."""
        return self.narrow if call.abi.name == "i386" else self.wide

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return self.layout(call).size

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        kind, whence, start, length, pid = self.layout(call).unpack(data)
        kind_text = enum_text(kind & 0xFFFF, LOCK_TYPES, "F_???")
        whence_text = enum_text(whence & 0xFFFF, WHENCES, "SEEK_???")
        owner = f", l_pid={pid}" if self.out else ""
        return f"{{l_type={kind_text}, l_whence={whence_text}, l_start={start}, l_len={length}{owner}}}"


class Owner(Struct):
    """``struct f_owner_ex``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        kind, pid = _OWNER.unpack(data)
        return f"{{type={enum_text(kind & MASK_32, OWNER_TYPES, 'F_OWNER_???')}, pid={pid}}}"


def _flags_note(call: Call) -> str:
    return f"flags {open_flags_text((call.result or 0) & 0xFFFFFFFF)}"


def _descriptor_note(call: Call) -> str | None:
    return f"flags {flags_text(call.result, FD_FLAGS)}" if call.result else None


def _seals_note(call: Call) -> str | None:
    return f"seals {flags_text(call.result, SEALS)}" if call.result else None


def _signal_note(call: Call) -> str | None:
    return signal_name(call.result) if call.result else None


def _lease_note(call: Call) -> str | None:
    return enum_text(call.result or 0, LOCK_TYPES, "F_???")


_FD = Fd()
_COMMAND = Enum(FCNTL_COMMANDS, "F_???")
_NAMES = {name: number for number, name in FCNTL_COMMANDS}


def _with(kind: Kind, returns: Returns = RETURNS_INT) -> Signature:
    return Signature(_FD, _COMMAND, kind, returns=returns)


def _alone(returns: Returns = RETURNS_INT) -> Signature:
    return Signature(_FD, _COMMAND, returns=returns)


_LOCK = _with(Flock())
_GETLOCK = _with(Flock(out=True))
_LOCK_64 = _with(Flock(wide=True))
_GETLOCK_64 = _with(Flock(wide=True, out=True))
_OTHER = _with(Hex())
_BY_NAME = {
    "F_DUPFD": _with(_FD),
    "F_DUPFD_CLOEXEC": _with(_FD),
    "F_GETFD": _alone(ReturnsWith(_descriptor_note, RETURNS_HEX)),
    "F_SETFD": _with(Flags(FD_FLAGS, "FD_???")),
    "F_GETFL": _alone(ReturnsWith(_flags_note, RETURNS_HEX)),
    "F_SETFL": _with(OpenFlags()),
    "F_GETLK": _GETLOCK,
    "F_SETLK": _LOCK,
    "F_SETLKW": _LOCK,
    "F_OFD_GETLK": _GETLOCK_64,
    "F_OFD_SETLK": _LOCK_64,
    "F_OFD_SETLKW": _LOCK_64,
    "F_SETOWN": _with(Pid()),
    "F_GETOWN": _alone(),
    "F_SETSIG": _with(Signal()),
    "F_GETSIG": _alone(ReturnsWith(_signal_note)),
    "F_SETOWN_EX": _with(Owner(_OWNER.size)),
    "F_GETOWN_EX": _with(Owner(_OWNER.size, out=True)),
    "F_SETLEASE": _with(Enum(LOCK_TYPES, "F_???")),
    "F_GETLEASE": _alone(ReturnsWith(_lease_note, RETURNS_HEX)),
    "F_NOTIFY": _with(Flags(NOTIFY_FLAGS, "DN_???")),
    "F_SETPIPE_SZ": _with(Int()),
    "F_GETPIPE_SZ": _alone(),
    "F_ADD_SEALS": _with(Flags(SEALS, "F_SEAL_???")),
    "F_GET_SEALS": _alone(ReturnsWith(_seals_note, RETURNS_HEX)),
}
_SIGNATURES = {_NAMES[name]: signature for name, signature in _BY_NAME.items()}
_SIGNATURES_64 = _SIGNATURES | {
    _NAMES["F_GETLK64"]: _GETLOCK_64,
    _NAMES["F_SETLK64"]: _LOCK_64,
    _NAMES["F_SETLKW64"]: _LOCK_64,
}


def _fcntl(call: Call) -> Signature:
    return _SIGNATURES.get(call.args[1] & 0xFFFFFFFF, _OTHER)


def _fcntl64(call: Call) -> Signature:
    return _SIGNATURES_64.get(call.args[1] & 0xFFFFFFFF, _OTHER)


SIGNATURES = {"fcntl": Signature(choose=_fcntl), "fcntl64": Signature(choose=_fcntl64)}
