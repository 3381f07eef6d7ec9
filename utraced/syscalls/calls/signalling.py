"""Signals: what to do about them, which to block, sending them with data and waiting for them."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    MASK_32,
    Enum,
    Hex,
    Pid,
    Signal,
    Struct,
    UnsignedLong,
    address_text,
    flags_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.results import RETURNS_HEX, ReturnsWith
from utraced.syscalls.signals import signal_name
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import SIGNAL_ACTION_FLAGS, SIGNAL_MASK_OPERATIONS, SIGNAL_STACK_FLAGS

from .sigset import SigSet, sigset_text
from .timespec import Timespec
from .waiting import SigInfo

SA_RESTORER = 0x4000000
MASK_BYTES = 8
"""Of the kernel's sets of signals; calls refuse any other size."""
_HANDLERS = {0: "SIG_DFL", 1: "SIG_IGN"}
_STACK = struct.Struct("<QI4xQ")
_STACK_32 = struct.Struct("<III")
_ACTION = struct.Struct("<4Q")
_ACTION_32 = struct.Struct("<IIIQ")
_OLD_ACTION_32 = struct.Struct("<IIII")


def _action_text(handler: str, mask: int, flags: int, restorer: int) -> str:
    """Return a sigaction, with its restorer where the flags say that there is one."""
    end = f", sa_restorer={address_text(restorer)}" if flags & SA_RESTORER else ""
    flags_shown = flags_text(flags, SIGNAL_ACTION_FLAGS, "SA_???")
    return f"{{sa_handler={handler}, sa_mask={sigset_text(mask)}, sa_flags={flags_shown}{end}}}"


def _handler_text(handler: int, call: Call) -> str:
    """Return a handler's address, or what is done without one."""
    if handler == (1 << 8 * call.abi.word) - 1:
        return "SIG_ERR"
    return _HANDLERS.get(handler) or hex(handler)


class SigAction(Struct):
    """The kernel's ``struct sigaction``: the mask is the last member of it."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return _ACTION.size if call.abi.word == 8 else _ACTION_32.size

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        handler, flags, restorer, mask = (_ACTION if call.abi.word == 8 else _ACTION_32).unpack(data)
        return _action_text(_handler_text(handler, call), mask, flags, restorer)


class OldSigAction(Struct):
    """``struct old_sigaction`` of i386, which knows 32 signals."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        handler, mask, flags, restorer = _OLD_ACTION_32.unpack(data)
        return _action_text(_handler_text(handler, call), mask, flags, restorer)


class SignalStack(Struct):
    """``stack_t``."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return _STACK.size if call.abi.word == 8 else _STACK_32.size

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        address, flags, size = (_STACK if call.abi.word == 8 else _STACK_32).unpack(data)
        shown = flags_text(flags, SIGNAL_STACK_FLAGS, "SS_???")
        return f"{{ss_sp={address_text(address)}, ss_flags={shown}, ss_size={size}}}"


class SavedMask(Kind):
    """The mask that a return from a handler restores, from the frame that the kernel put on the stack.

    ``offsets`` are those of the words of the mask from the stack pointer, by ABI: in struct rt_sigframe and i386's
    sigframe_ia32 (arch/x86/include/asm/sigframe.h), less what the handler's return has taken off the stack.
    """

    __slots__ = ("offsets",)
    reads = True

    def __init__(self, **offsets: tuple[int, ...]) -> None:
        super().__init__()
        self.offsets = offsets

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        offsets = self.offsets[call.abi.name]
        size = MASK_BYTES // len(offsets)
        data = b"".join([call.entered.read(call.sp + offset, size) for offset in offsets])
        shown = sigset_text(int.from_bytes(data, "little")) if len(data) == MASK_BYTES else hex(call.sp + offsets[0])
        return f"{{mask={shown}}}"


class MaskWord(Kind):
    """A set of the first 32 signals in the argument itself, as i386's sigsuspend has it."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return sigset_text(value & MASK_32)


class Handler(Kind):
    """A handler by itself, as signal takes it."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return _handler_text(value, call)


def _handler_note(call: Call) -> str:
    return _handler_text((call.result or 0) & MASK_32, call)


def _whole(index: int) -> SigSet:
    """Return the kind of a set that is read only when the argument ``index`` is the one size there is."""
    return SigSet(lambda call: MASK_BYTES if call.args[index] == MASK_BYTES else 0)


def _whole_out(index: int) -> SigSet:
    return SigSet(lambda call: MASK_BYTES if call.args[index] == MASK_BYTES else 0, out=True)


def _received(call: Call) -> str | None:
    return signal_name(call.result) if call.result else None


_SIGNAL = Signal()
_SIZE = UnsignedLong()
_PID = Pid()
_INFO = SigInfo()
_HOW = Enum(SIGNAL_MASK_OPERATIONS, "SIG_???")
_WORD_SET = SigSet(lambda _: 4)
_WORD_SET_OUT = SigSet(lambda _: 4, out=True)
_WAIT = (_whole(3), SigInfo(out=True))
_NAMED = ReturnsWith(_received)

SIGNATURES = {
    "rt_sigaction": Signature(_SIGNAL, SigAction(), SigAction(out=True), _SIZE),
    "rt_sigprocmask": Signature(_HOW, _whole(3), _whole_out(3), _SIZE),
    "rt_sigpending": Signature(SigSet(1, out=True), _SIZE),
    "rt_sigsuspend": Signature(_whole(1), _SIZE),
    "rt_sigreturn": Signature(SavedMask(x86_64=(296,), x32=(280,), i386=(248,))),
    "rt_sigtimedwait": Signature(*_WAIT, Timespec(), _SIZE, returns=_NAMED),
    "rt_sigtimedwait_time64": Signature(*_WAIT, Timespec(wide=True), _SIZE, returns=_NAMED),
    "rt_sigqueueinfo": Signature(_PID, _SIGNAL, _INFO),
    "rt_tgsigqueueinfo": Signature(_PID, _PID, _SIGNAL, _INFO),
    "sigaltstack": Signature(SignalStack(), SignalStack(out=True)),
    "sigreturn": Signature(SavedMask(i386=(80, 712))),
    "restart_syscall": Signature(),
}
I386_SIGNATURES = {
    "sigaction": Signature(_SIGNAL, OldSigAction(16), OldSigAction(16, out=True)),
    "sigprocmask": Signature(_HOW, _WORD_SET, _WORD_SET_OUT),
    "sigpending": Signature(_WORD_SET_OUT),
    "sigsuspend": Signature(Hex(), Hex(), MaskWord()),
    "signal": Signature(_SIGNAL, Handler(), returns=ReturnsWith(_handler_note, RETURNS_HEX)),
}
