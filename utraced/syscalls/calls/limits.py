"""What a process may use and has used, and what the machine is."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import (
    Address,
    Enum,
    Flags,
    Pid,
    Size,
    Struct,
    address_text,
    count_of,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.quote import quote_bytes, quote_hex
from utraced.syscalls.results import RETURNS_UNSIGNED
from utraced.syscalls.siginfo import CLOCK_TICKS
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import RANDOM_FLAGS, RESOURCES, USAGES

from .rusage import Rusage

INFINITY_64 = (1 << 64) - 1
INFINITY_32 = (1 << 32) - 1
KILO = 1024
NAME_LENGTH = 65
"""Of each string of ``struct utsname``, its NUL counted."""

_LONGS = struct.Struct("<4Q")
_INTS = struct.Struct("<4I")
_SYSINFO = struct.Struct("<q9QH6xQQI4x")
_SYSINFO_32 = struct.Struct("<i9IHxxIII8x")


def limit_text(value: int, infinity: int, name: str) -> str:
    """Return a limit; whole kilobytes as ``8192*1024``."""
    if value == infinity:
        return name
    return f"{value // KILO}*1024" if value > KILO and not value % KILO else str(value)


class Limits(Struct):
    """``struct rlimit``, or with ``wide`` ``struct rlimit64``."""

    __slots__ = ("wide",)

    def __init__(self, *, wide: bool = False, out: bool = False) -> None:
        super().__init__(out=out)
        self.wide = wide

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 16 if self.wide else 2 * call.abi.word

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        large = len(data) == 16
        infinity = INFINITY_64 if large else INFINITY_32
        name = "RLIM64_INFINITY" if large else "RLIM_INFINITY"
        soft, hard = struct.unpack("<QQ" if large else "<II", data)
        return f"{{rlim_cur={limit_text(soft, infinity, name)}, rlim_max={limit_text(hard, infinity, name)}}}"


class Times(Struct):
    """``struct tms``, in clock ticks."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 4 * call.abi.word

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        values = (_LONGS if len(data) == _LONGS.size else _INTS).unpack(data)
        names = ("tms_utime", "tms_stime", "tms_cutime", "tms_cstime")
        parts = []
        for name, ticks in zip(names, values, strict=True):
            seconds = f" /* {ticks // CLOCK_TICKS}.{ticks % CLOCK_TICKS:02} s */" if ticks else ""
            parts.append(f"{name}={ticks}{seconds}")
        return f"{{{', '.join(parts)}}}"


class SystemInfo(Struct):
    """``struct sysinfo``."""

    __slots__ = ()

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return _SYSINFO.size if call.abi.word == 8 else _SYSINFO_32.size

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        uptime, *rest = (_SYSINFO if call.abi.word == 8 else _SYSINFO_32).unpack(data)
        loads, memory = rest[:3], rest[3:]
        names = (
            "totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap", "procs", "totalhigh",
            "freehigh", "mem_unit",
        )  # fmt: skip
        parts = [f"{name}={number}" for name, number in zip(names, memory, strict=True)]
        return f"{{uptime={uptime}, loads=[{', '.join(map(str, loads))}], {', '.join(parts)}}}"


class SystemName(Kind):
    """``struct utsname``: the first two of its strings."""

    __slots__ = ()
    reads = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or call.errno:
            return address_text(value)
        data = call.left.read(value, 2 * NAME_LENGTH)
        if len(data) < 2 * NAME_LENGTH:
            return hex(value)
        system, node = (data[start : start + NAME_LENGTH].partition(b"\0")[0] for start in (0, NAME_LENGTH))
        return f"{{sysname={quote_bytes(system)}, nodename={quote_bytes(node)}, ...}}"


class RandomBytes(Kind):
    """Bytes that mean nothing, all of them in hexadecimal."""

    __slots__ = ()
    reads = True
    string = True

    def extent(self, call: Call) -> int | None:
        """See ``Kind.extent``."""
        return count_of("result", call)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or call.errno:
            return address_text(value)
        size = count_of("result", call)
        shown = min(size, call.limit)
        data = call.left.read(value, shown) if shown else b""
        return quote_hex(data, truncated=size > shown) if len(data) == shown else hex(value)


_RESOURCE = Enum(RESOURCES, "RLIMIT_???")

SIGNATURES = {
    "getrlimit": Signature(_RESOURCE, Limits(out=True)),
    "setrlimit": Signature(_RESOURCE, Limits()),
    "ugetrlimit": Signature(_RESOURCE, Limits(out=True)),
    "prlimit64": Signature(Pid(), _RESOURCE, Limits(wide=True), Limits(wide=True, out=True)),
    "getrusage": Signature(Enum(USAGES, "RUSAGE_???"), Rusage()),
    "times": Signature(Times(out=True), returns=RETURNS_UNSIGNED),
    "sysinfo": Signature(SystemInfo(out=True)),
    "uname": Signature(SystemName(out=True)),
    "getrandom": Signature(RandomBytes(out=True), Size(), Flags(RANDOM_FLAGS, "GRND_???")),
}
I386_SIGNATURES = {"oldolduname": Signature(Address()), "olduname": Signature(Address())}
