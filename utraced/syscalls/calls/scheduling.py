"""Who runs where and when: policies, priorities and processors (sched(7), ioprio_set(2))."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Enum,
    Int,
    Pid,
    Pointer,
    Unsigned,
    UnsignedLong,
    address_text,
    enum_text,
    flags_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.results import ReturnsWith
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import (
    IOPRIO_CLASSES,
    IOPRIO_WHOS,
    PRIORITIES,
    SCHED_FLAGS,
    SCHEDULERS,
)

from .places import At
from .timespec import Timespec

CLASS_SHIFT = 13
MAX_SET = 1 << 16
"""Of the bytes of a set of processors that are read; the kernel knows 8192 processors at most."""

_ATTR = struct.Struct("<IIQiIQQQII")
_ATTR_0 = 48


class CpuSet(Kind):
    """A set of processors, as long in bytes as the argument before it says or, when filled in, the result."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and (call.errno or call.result is None)):
            return address_text(value)
        size = max(call.result or 0, 0) if self.out else call.args[1] & MASK_32
        word = call.abi.word
        whole = -(-size // word) * word
        shown = min(whole, MAX_SET)
        data = self.memory(call).read(value, shown)
        if len(data) < shown:
            return hex(value)
        bits = int.from_bytes(data[:size], "little")
        names = [str(number) for number in range(bits.bit_length()) if bits >> number & 1]
        if whole > shown:
            names.append("...")
        return f"[{' '.join(names)}]"


class Parameter(Pointer):
    """``struct sched_param``: a priority."""

    __slots__ = ()

    def __init__(self, *, out: bool = False) -> None:
        super().__init__(Int(), out=out)


def _attr_text(data: bytes) -> str:
    """Return ``struct sched_attr``, with what its size says that it has."""
    size, policy, flags, nice, priority, runtime, deadline, period, low, high = _ATTR.unpack(data)
    text = (
        f"size={size}, sched_policy={enum_text(policy, SCHEDULERS, 'SCHED_???')}, "
        f"sched_flags={flags_text(flags, SCHED_FLAGS, 'SCHED_FLAG_???')}, sched_nice={nice}, "
        f"sched_priority={priority}, sched_runtime={runtime}, sched_deadline={deadline}, sched_period={period}"
    )
    return f"{text}, sched_util_min={low}, sched_util_max={high}" if size >= _ATTR.size else text


class Attributes(Kind):
    """``struct sched_attr`` (sched_setattr(2)); its first member is its size."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        data = call.entered.read(value, 4) if value else b""
        if len(data) < 4:
            return address_text(value)
        size = int.from_bytes(data, "little")
        if size and size < _ATTR_0:
            return f"{{size={size}}}"
        known = min(size or _ATTR_0, _ATTR.size)
        rest = call.entered.read(value, known)
        if len(rest) < known:
            return hex(value)
        more = ", ..." if size > _ATTR.size else ""
        return f"{{{_attr_text(rest.ljust(_ATTR.size, bytes(1)))}{more}}}"


class Corrected(Kind):
    """The size that the kernel wants, where it did not like the one of ``struct sched_attr``."""

    __slots__ = ()
    reads = True
    joins = True

    def __init__(self) -> None:
        super().__init__(out=True)

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        call.entered.read(call.args[1], 4)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        address = call.args[1]
        before = call.entered.read(address, 4) if address else b""
        after = call.left.read(address, 4) if len(before) == 4 else b""
        if len(after) < 4 or before == after:
            return ""
        return f" => {{size={int.from_bytes(after, 'little')}}}"


class FilledAttributes(Kind):
    """``struct sched_attr`` as the kernel filled it in, no longer than the argument after it."""

    __slots__ = ()
    reads = True

    def __init__(self) -> None:
        super().__init__(out=True)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        size = call.args[2] & MASK_32
        if not value or call.errno or size < _ATTR_0:
            return address_text(value)
        known = min(size, _ATTR.size)
        data = call.left.read(value, known)
        return f"{{{_attr_text(data.ljust(_ATTR.size, bytes(1)))}}}" if len(data) == known else hex(value)


class IoPriority(Kind):
    """A class and a level of input and output."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return _io_text(value & MASK_32)


def _io_text(value: int) -> str:
    kind = enum_text(value >> CLASS_SHIFT, IOPRIO_CLASSES, "IOPRIO_CLASS_???")
    return f"IOPRIO_PRIO_VALUE({kind}, {value & (1 << CLASS_SHIFT) - 1})"


def _scheduler_note(call: Call) -> str:
    return enum_text((call.result or 0) & MASK_32, SCHEDULERS, "SCHED_???")


_PID = Pid()
_INT = Int()
_UNSIGNED = Unsigned()
_POLICY = Enum(SCHEDULERS, "SCHED_???")
_PARAMETER = Parameter()
_CPU = Pointer(_UNSIGNED, out=True)
_WHICH = Enum(PRIORITIES, "PRIO_???")
_IO_WHICH = Enum(IOPRIO_WHOS, "IOPRIO_WHO_???")

SIGNATURES = {
    "sched_yield": Signature(),
    "sched_getaffinity": Signature(_PID, UnsignedLong(), CpuSet(out=True)),
    "sched_setaffinity": Signature(_PID, UnsignedLong(), CpuSet()),
    "sched_getparam": Signature(_PID, Parameter(out=True)),
    "sched_setparam": Signature(_PID, _PARAMETER),
    "sched_setscheduler": Signature(_PID, _POLICY, _PARAMETER),
    "sched_getscheduler": Signature(_PID, returns=ReturnsWith(_scheduler_note)),
    "sched_get_priority_min": Signature(_POLICY),
    "sched_get_priority_max": Signature(_POLICY),
    "sched_rr_get_interval": Signature(_PID, Timespec(out=True)),
    "sched_rr_get_interval_time64": Signature(_PID, Timespec(wide=True, out=True)),
    "getpriority": Signature(_WHICH, _INT),
    "setpriority": Signature(_WHICH, _INT, _INT),
    "getcpu": Signature(_CPU, _CPU, Address()),
    "ioprio_get": Signature(_IO_WHICH, _INT, returns=ReturnsWith(lambda call: _io_text((call.result or 0) & MASK_32))),
    "ioprio_set": Signature(_IO_WHICH, _INT, IoPriority()),
    "nice": Signature(_INT),
    "sched_setattr": Signature(_PID, Attributes(), Corrected(), At(2, _UNSIGNED)),
    "sched_getattr": Signature(_PID, FilledAttributes(), _UNSIGNED, _UNSIGNED),
}
