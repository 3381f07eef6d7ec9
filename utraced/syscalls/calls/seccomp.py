"""Filters of system calls (seccomp(2))."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import MASK_32, Address, Enum, Flags, Hex, Pointer, Struct, address_text
from utraced.syscalls.call import Call
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import SECCOMP_ACTIONS, SECCOMP_FILTER_FLAGS, SECCOMP_OPERATIONS

SET_MODE_STRICT, SET_MODE_FILTER, GET_ACTION_AVAIL, GET_NOTIF_SIZES = range(4)

_PROGRAM = struct.Struct("<H6xQ")
_PROGRAM_32 = struct.Struct("<H2xI")
_SIZES = struct.Struct("<HHH")


class Program(Struct):
    """``struct sock_fprog``: where a program of the classic BPF is, and how many instructions it has."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return _PROGRAM.size if call.abi.word == 8 else _PROGRAM_32.size

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        length, address = (_PROGRAM if call.abi.word == 8 else _PROGRAM_32).unpack(data)
        return f"{{len={length}, filter={address_text(address)}}}"


class NotificationSizes(Struct):
    """``struct seccomp_notif_sizes``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        notification, response, about = _SIZES.unpack(data)
        return f"{{seccomp_notif={notification}, seccomp_notif_resp={response}, seccomp_data={about}}}"


_OPERATION = Enum(SECCOMP_OPERATIONS, "SECCOMP_SET_MODE_???")
_HEX = Hex()
_OTHER = Signature(_OPERATION, _HEX, Address())
_BY_OPERATION = {
    SET_MODE_STRICT: _OTHER,
    SET_MODE_FILTER: Signature(_OPERATION, Flags(SECCOMP_FILTER_FLAGS, "SECCOMP_FILTER_FLAG_???"), Program()),
    GET_ACTION_AVAIL: Signature(_OPERATION, _HEX, Pointer(Enum(SECCOMP_ACTIONS, "SECCOMP_RET_???"))),
    GET_NOTIF_SIZES: Signature(_OPERATION, _HEX, NotificationSizes(_SIZES.size, out=True)),
}

SIGNATURES = {"seccomp": Signature(choose=lambda call: _BY_OPERATION.get(call.args[0] & MASK_32, _OTHER))}
