"""ptrace: its request decides what the other arguments are (ptrace(2))."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Enum,
    Flags,
    Hex,
    Pid,
    Pointer,
    Signal,
    Struct,
    UnsignedLong,
    address_text,
    flags_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import (
    PEEK_SIGINFO_FLAGS,
    PTRACE_OPTIONS,
    PTRACE_REQUESTS,
    REGISTER_SETS,
)

from .places import At
from .sigset import SigSet
from .waiting import SigInfo

REGISTERS = (
    "R15", "R14", "R13", "R12", "RBP", "RBX", "R11", "R10", "R9", "R8", "RAX", "RCX", "RDX", "RSI", "RDI", "ORIG_RAX",
    "RIP", "CS", "EFLAGS", "RSP", "SS", "FS_BASE", "GS_BASE", "DS", "ES", "FS", "GS",
)  # fmt: skip
"""Of ``struct user_regs_struct`` in order (sys/user.h)."""
_USER = (
    (216, "u_fpvalid"), (224, "i387"), (736, "u_tsize"), (744, "u_dsize"), (752, "u_ssize"), (760, "start_code"),
    (768, "start_stack"), (776, "signal"), (784, "reserved"), (792, "u_ar0"), (800, "u_fpstate"), (808, "magic"),
    (816, "u_comm"), (848, "u_debugreg"),
)  # fmt: skip
"""Where the members after the registers begin in ``struct user`` of 64-bit programs."""
_USER_SIZE = 912
WORD = 8

_NAMES = {name: value for value, name in PTRACE_REQUESTS}
_SHOWN = {"PTRACE_PEEKUSR": "PTRACE_PEEKUSER", "PTRACE_POKEUSR": "PTRACE_POKEUSER"}
_VECTOR = struct.Struct("<QQ")
_VECTOR_32 = struct.Struct("<II")
_PEEK = struct.Struct("<QIi")


class UserOffset(Kind):
    """Where in ``struct user`` to look, as ``8*RIP``; strace takes the 64-bit one for 32-bit programs too."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        index, odd = divmod(value, WORD)
        if not odd and index < len(REGISTERS):
            return f"{WORD}*{REGISTERS[index]}"
        if _USER[0][0] <= value < _USER_SIZE:
            start, name = next(member for member in reversed(_USER) if member[0] <= value)
            return f"offsetof(struct user, {name}){f'+{value - start}' if value > start else ''}"
        return hex(value) if value else "0"


class Vector(Struct):
    """``struct iovec`` of a set of registers."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 2 * call.abi.word

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        base, length = (_VECTOR if call.abi.word == 8 else _VECTOR_32).unpack(data)
        return f"{{iov_base={address_text(base)}, iov_len={length}}}"


class Peek(Struct):
    """``struct __ptrace_peeksiginfo_args``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        offset, flags, count = _PEEK.unpack(data)
        shown = flags_text(flags, PEEK_SIGINFO_FLAGS, "PTRACE_PEEKSIGINFO_???")
        return f"{{off={offset}, flags={shown}, nr={count}}}"


_REQUEST = Enum(tuple((value, _SHOWN.get(name, name)) for value, name in PTRACE_REQUESTS), "PTRACE_???", bits=64)
_FIRST = (_REQUEST, Pid())
_ADDRESS = Address()
_SIZE = UnsignedLong()
_OPTIONS = Flags(PTRACE_OPTIONS, "PTRACE_O_???")
_SET = Enum(REGISTER_SETS, "NT_???")

_PLAIN = Signature(*_FIRST)
_OTHER = Signature(*_FIRST, _ADDRESS, _ADDRESS)
_RESUME = Signature(*_FIRST, _ADDRESS, Signal())
_REGISTERS = Signature(*_FIRST, At(3, _ADDRESS))
_PEEKED = Pointer(Hex(), 0, out=True)
_SIZED = Signature(*_FIRST, _SIZE, _ADDRESS)

_BY_NAME = {
    "PTRACE_TRACEME": Signature(_REQUEST),
    "PTRACE_PEEKTEXT": Signature(*_FIRST, _ADDRESS, _PEEKED),
    "PTRACE_PEEKDATA": Signature(*_FIRST, _ADDRESS, _PEEKED),
    "PTRACE_PEEKUSR": Signature(*_FIRST, UserOffset(), _PEEKED),
    "PTRACE_POKEUSR": Signature(*_FIRST, UserOffset(), _ADDRESS),
    "PTRACE_CONT": _RESUME,
    "PTRACE_KILL": _PLAIN,
    "PTRACE_SINGLESTEP": _RESUME,
    "PTRACE_GETREGS": _REGISTERS,
    "PTRACE_SETREGS": _REGISTERS,
    "PTRACE_GETFPREGS": _REGISTERS,
    "PTRACE_SETFPREGS": _REGISTERS,
    "PTRACE_ATTACH": _PLAIN,
    "PTRACE_DETACH": _RESUME,
    "PTRACE_SYSCALL": _RESUME,
    "PTRACE_SYSEMU": _RESUME,
    "PTRACE_SYSEMU_SINGLESTEP": _RESUME,
    "PTRACE_SINGLEBLOCK": _RESUME,
    "PTRACE_SETOPTIONS": Signature(*_FIRST, _ADDRESS, _OPTIONS),
    "PTRACE_SEIZE": Signature(*_FIRST, _ADDRESS, _OPTIONS),
    "PTRACE_INTERRUPT": _PLAIN,
    "PTRACE_LISTEN": _PLAIN,
    "PTRACE_GETEVENTMSG": Signature(*_FIRST, _ADDRESS, Pointer(UnsignedLong(), 0, out=True)),
    "PTRACE_GETSIGINFO": Signature(*_FIRST, _ADDRESS, SigInfo(out=True)),
    "PTRACE_SETSIGINFO": Signature(*_FIRST, _ADDRESS, SigInfo()),
    "PTRACE_GETREGSET": Signature(*_FIRST, _SET, Vector()),
    "PTRACE_SETREGSET": Signature(*_FIRST, _SET, Vector()),
    "PTRACE_PEEKSIGINFO": Signature(*_FIRST, Peek(_PEEK.size), _ADDRESS),
    "PTRACE_GETSIGMASK": Signature(*_FIRST, _SIZE, SigSet(2, out=True)),
    "PTRACE_SETSIGMASK": Signature(*_FIRST, _SIZE, SigSet(2)),
    "PTRACE_SECCOMP_GET_FILTER": _SIZED,
    "PTRACE_SECCOMP_GET_METADATA": _SIZED,
    "PTRACE_GET_SYSCALL_INFO": _SIZED,
}
_BY_VALUE = {_NAMES[name]: signature for name, signature in _BY_NAME.items()}

SIGNATURES = {"ptrace": Signature(choose=lambda call: _BY_VALUE.get(call.args[0] & MASK_32, _OTHER))}
