"""Making processes and threads: clone and clone3 (clone(2))."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import MASK_32, Int, Size, address_text, array_text, flags_text, signed_32
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_hex
from utraced.syscalls.signals import signal_name
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import CLONE3_FLAGS, CLONE_FLAGS

from .places import At

CSIGNAL = 0xFF
CLONE_PIDFD = 0x1000
CLONE_SETTLS = 0x80000
CLONE_PARENT_SETTID = 0x100000
CLONE_CHILD_CLEARTID = 0x200000
CLONE_CHILD_SETTID = 0x1000000
CLONE_INTO_CGROUP = 0x200000000
SIZE_0 = 64
"""Of the first version of ``struct clone_args``; the kernel takes none smaller, and none larger than a page."""
SIZE_2 = 88
PAGE = 4096

_ARGS = struct.Struct("<11Q")
PIDFD, PARENT_TID, SET_TID = 8, 24, 64
"""Where pointers are in it: to a descriptor of the new process, to its number, and to numbers that are asked for."""
_INT = Int()


class Stack(Kind):
    """The new stack, which strace shows first."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return f"child_stack={address_text(call.args[1])}"


class CloneFlags(Kind):
    """What is shared, and in the lowest byte the signal of the end."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        flags = call.args[0]
        signal = flags & CSIGNAL
        flags &= ~CSIGNAL
        parts = [flags_text(flags, CLONE_FLAGS, "CLONE_???")] if flags else []
        if signal:
            parts.append(signal_name(signal))
        return f"flags={'|'.join(parts) or '0'}"


class Named(Kind):
    """An address in the argument ``index``, as ``tls=0x7f0000000000``; strace writes these at the call's return."""

    __slots__ = ("index", "name")
    joins = True

    def __init__(self, name: str, index: int) -> None:
        super().__init__(out=True)
        self.name = name
        self.index = index

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return f", {self.name}={address_text(call.args[self.index])}"


class ParentTid(Named):
    """Where the kernel puts the new thread's number, or a descriptor of the new process."""

    __slots__ = ()
    reads = True

    def __init__(self) -> None:
        super().__init__("parent_tid", 2)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        address = call.args[self.index]
        data = call.left.read(address, 4) if address and not call.errno else b""
        if len(data) < 4:
            return super().render(value, call)
        return f", {self.name}=[{signed_32(int.from_bytes(data, 'little'))}]"


_FIRST = (Stack(), CloneFlags())
_PARENT = ParentTid()


def _clone(tls: int, child: int) -> Signature:
    """Return the signature for the two arguments that architectures disagree about."""
    kinds: dict[int, Signature] = {}
    about = CLONE_PIDFD | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID

    def choose(call: Call) -> Signature:
        flags = call.args[0] & about
        found = kinds.get(flags)
        if found is None:
            rest: list[Kind] = []
            if flags & (CLONE_PARENT_SETTID | CLONE_PIDFD):
                rest.append(_PARENT)
            if flags & CLONE_SETTLS:
                rest.append(Named("tls", tls))
            if flags & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID):
                rest.append(Named("child_tidptr", child))
            found = kinds[flags] = Signature(*_FIRST, *rest)
        return found

    return Signature(choose=choose)


def read_args(call: Call) -> tuple[int, ...] | None:
    """Return the members of ``struct clone_args``, zero where it is shorter; None where it cannot be read."""
    address, size = call.args[0], call.args[1]
    if not address or size < SIZE_0:
        return None
    known = min(size, SIZE_2)
    data = call.entered.read(address, known)
    if len(data) < known:
        return None
    return _ARGS.unpack(data.ljust(SIZE_2, b"\0"))


class CloneArgs(Kind):
    """``struct clone_args``, whose length is the argument after it."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        args = read_args(call)
        if args is None:
            return address_text(value)
        flags, pidfd, child, parent, signal, stack, stack_size, tls, tids, tid_count, cgroup = args
        parts = [f"flags={flags_text(flags, CLONE3_FLAGS, 'CLONE_???')}"]
        if flags & CLONE_PIDFD:
            parts.append(f"pidfd={address_text(pidfd)}")
        if flags & (CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID):
            parts.append(f"child_tid={address_text(child)}")
        if flags & CLONE_PARENT_SETTID:
            parts.append(f"parent_tid={address_text(parent)}")
        parts.append(f"exit_signal={signal_name(signal) if signal <= MASK_32 else signal}")
        parts.append(f"stack={address_text(stack)}, stack_size={hex(stack_size) if stack_size else '0'}")
        if flags & CLONE_SETTLS:
            parts.append(f"tls={address_text(tls)}")
        if tids or tid_count:
            parts.append(f"set_tid={array_text(tids, tid_count, _INT, call)}, set_tid_size={tid_count}")
        if cgroup or flags & CLONE_INTO_CGROUP or tids or tid_count:
            parts.append(f"cgroup={signed_32(cgroup)}")
        rest = self.unknown(call)
        return f"{{{', '.join(parts)}{rest}}}"

    @staticmethod
    def unknown(call: Call) -> str:
        """Return what a newer program says after the known members, when it is not all zero."""
        size = call.args[1] - SIZE_2
        if size <= 0:
            return ""
        data = call.entered.read(call.args[0] + SIZE_2, min(size, PAGE - SIZE_2))
        if not any(data):
            return ""
        return f", /* bytes {SIZE_2}..{SIZE_2 + len(data) - 1} */ {quote_hex(data)}"


class CloneResults(Kind):
    """The numbers that the kernel put where ``struct clone_args`` says; nothing where it said nothing."""

    __slots__ = ()
    reads = True
    joins = True

    def __init__(self) -> None:
        super().__init__(out=True)

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        read_args(call)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        args = None if call.errno else read_args(call)
        if args is None:
            return ""
        flags, pidfd, _, parent, *_ = args
        parts = []
        if flags & CLONE_PIDFD:
            parts.append(f"pidfd={self.number(pidfd, call)}")
        if flags & CLONE_PARENT_SETTID:
            parts.append(f"parent_tid={self.number(parent, call)}")
        return f" => {{{', '.join(parts)}}}" if parts else ""

    @staticmethod
    def number(address: int, call: Call) -> str:
        """Return the int at ``address`` in brackets."""
        data = call.left.read(address, 4) if address else b""
        return f"[{signed_32(int.from_bytes(data, 'little'))}]" if len(data) == 4 else address_text(address)


SIGNATURES = {
    "clone": _clone(tls=4, child=3),
    "clone3": Signature(CloneArgs(), CloneResults(), At(1, Size())),
}
I386_SIGNATURES = {"clone": _clone(tls=3, child=4)}
