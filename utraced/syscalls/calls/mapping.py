"""Mappings of memory: mmap, mprotect, madvise and the like."""

from __future__ import annotations

from utraced.syscalls.basics import (
    MASK_32,
    Address,
    Array,
    Enum,
    Fd,
    Flags,
    Hex,
    Size,
    Unsigned,
    enum_text,
    flags_text,
    hex_text,
)
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.results import RETURNS_ADDRESS, RETURNS_HEX, ReturnsWith
from utraced.syscalls.signature import RETURNS_INT, Signature
from utraced.syscalls.tables.files import SECRET_FLAGS
from utraced.syscalls.tables.mapping import (
    MADVICES,
    MAP_FLAGS,
    MAP_TYPES,
    MEMBARRIER_COMMANDS,
    MEMBARRIER_FLAGS,
    MLOCK_FLAGS,
    MLOCKALL_FLAGS,
    MREMAP_FLAGS,
    MSYNC_FLAGS,
    PROTECTIONS,
)

from .places import Packed

MAP_TYPE = 0xF
HUGE_SHIFT = 26
HUGE_MASK = 0x3F << HUGE_SHIFT
MREMAP_MOVES = 3
"""MREMAP_MAYMOVE and MREMAP_FIXED: the new address counts."""
PAGE = 4096


class MapFlags(Kind):
    """The flags of mmap: the kind of mapping, the bits, and the size of huge pages in the uppermost six bits."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        text = enum_text(value & MAP_TYPE, MAP_TYPES, "MAP_???")
        rest = value & ~(MAP_TYPE | HUGE_MASK)
        if rest:
            text += f"|{flags_text(rest, MAP_FLAGS)}"
        huge = (value & HUGE_MASK) >> HUGE_SHIFT
        return f"{text}|{huge}<<MAP_HUGE_SHIFT" if huge else text


class Pages(Kind):
    """Where mmap2 starts in its file, told in pages and shown in bytes."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return hex_text(value * PAGE)


class Resident(Array):
    """The bytes of mincore, one for each page."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(Residence(), lambda call: (call.args[1] + PAGE - 1) // PAGE, size=1, out=True)


class Residence(Kind):
    """Whether one page is in memory, which is the lowest bit."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(value & 1)


def _membarriers(call: Call) -> str | None:
    return flags_text(call.result, MEMBARRIER_COMMANDS, "MEMBARRIER_CMD_???") if call.result else None


_ADDRESS = Address()
_SIZE = Size()
_FD = Fd()
_PROTECTION = Flags(PROTECTIONS, "PROT_???")
_MREMAP = Flags(MREMAP_FLAGS, "MREMAP_???")
_COMMAND = Enum(MEMBARRIER_COMMANDS, "MEMBARRIER_CMD_???")
_BARRIER_FLAGS = Flags(MEMBARRIER_FLAGS, "MEMBARRIER_CMD_FLAG_???")
_REMAP = Signature(_ADDRESS, _SIZE, _SIZE, _MREMAP, returns=RETURNS_ADDRESS)
_REMAP_TO = Signature(_ADDRESS, _SIZE, _SIZE, _MREMAP, _ADDRESS, returns=RETURNS_ADDRESS)
_QUERY = Signature(_COMMAND, _BARRIER_FLAGS, returns=ReturnsWith(_membarriers, RETURNS_HEX))
_BARRIER = Signature(_COMMAND, _BARRIER_FLAGS, returns=RETURNS_INT)
_BARRIER_CPU = Signature(_COMMAND, _BARRIER_FLAGS, Unsigned())


def _membarrier(call: Call) -> Signature:
    if call.args[1] & 1:
        return _BARRIER_CPU
    return _BARRIER if call.args[0] & MASK_32 else _QUERY


def _mremap(call: Call) -> Signature:
    return _REMAP_TO if call.args[3] & MREMAP_MOVES == MREMAP_MOVES else _REMAP


SIGNATURES = {
    "mmap": Signature(_ADDRESS, _SIZE, _PROTECTION, MapFlags(), _FD, Hex(), returns=RETURNS_ADDRESS),
    "mmap2": Signature(_ADDRESS, _SIZE, _PROTECTION, MapFlags(), _FD, Pages(), returns=RETURNS_ADDRESS),
    "mprotect": Signature(_ADDRESS, _SIZE, _PROTECTION),
    "munmap": Signature(_ADDRESS, _SIZE),
    "mremap": Signature(choose=_mremap),
    "madvise": Signature(_ADDRESS, _SIZE, Enum(MADVICES, "MADV_???")),
    "msync": Signature(_ADDRESS, _SIZE, Flags(MSYNC_FLAGS, "MS_???")),
    "mlock": Signature(_ADDRESS, _SIZE),
    "mlock2": Signature(_ADDRESS, _SIZE, Flags(MLOCK_FLAGS, "MLOCK_???")),
    "munlock": Signature(_ADDRESS, _SIZE),
    "mlockall": Signature(Flags(MLOCKALL_FLAGS, "MCL_???")),
    "munlockall": Signature(),
    "mincore": Signature(_ADDRESS, _SIZE, Resident()),
    "brk": Signature(_ADDRESS, returns=RETURNS_ADDRESS),
    "membarrier": Signature(choose=_membarrier),
    "memfd_secret": Signature(Flags(SECRET_FLAGS)),
}

I386_SIGNATURES = {
    "mmap": Signature(Packed(_ADDRESS, _SIZE, _PROTECTION, MapFlags(), _FD, Hex()), returns=RETURNS_ADDRESS),
}
