"""Who a process is: users, groups and capabilities (credentials(7), capabilities(7))."""

from __future__ import annotations

import struct

from utraced.syscalls.basics import MASK_32, Array, Int, Pointer, Struct, address_text, enum_text, signed_32
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import CAPABILITIES, CAPABILITY_VERSIONS

NO_ID = -1
NGROUPS_MAX = 65536
VERSIONS_OF_64 = frozenset({0x20071026, 0x20080522})

_BITS = tuple((1 << number, name) for number, name in CAPABILITIES)
_LOW = tuple((bit, name) for bit, name in _BITS if bit <= MASK_32)
_HIGH = tuple((bit >> 32, name) for bit, name in _BITS if bit > MASK_32)
_HEADER = struct.Struct("<Ii")
_SET = struct.Struct("<III")


class Id(Kind):
    """A user or a group; -1 for none.  ``bits``: 16 of i386's first calls."""

    __slots__ = ("mask",)

    def __init__(self, bits: int = 32) -> None:
        super().__init__()
        self.mask = (1 << bits) - 1

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= self.mask
        return str(NO_ID if value == self.mask else value)


class Groups(Kind):
    """The groups that a process is in beside its own, ``size`` bytes each."""

    __slots__ = ("groups",)
    reads = True

    def __init__(self, item: Kind, size: int = 4, *, out: bool = False) -> None:
        super().__init__(out=out)
        self.groups = Array(item, "result" if out else 0, size=size, out=out)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not self.out and signed_32(call.args[0]) not in range(NGROUPS_MAX + 1):
            return address_text(value)
        return self.groups.render(value, call)


class Header(Struct):
    """``struct __user_cap_header_struct``."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        version, pid = _HEADER.unpack(data)
        return f"{{version={enum_text(version, CAPABILITY_VERSIONS, '_LINUX_CAPABILITY_VERSION_???')}, pid={pid}}}"


def _names(value: int, table: tuple[tuple[int, str], ...]) -> str:
    """Return capabilities as ``1<<CAP_CHOWN|1<<CAP_KILL``."""
    names = [f"1<<{name}" for bit, name in table if value & bit]
    rest = value & ~sum(bit for bit, _ in table)
    if rest:
        names.append(hex(rest) if names else f"{rest:#x} /* CAP_??? */")
    return "|".join(names)


def capabilities_text(low: int, high: int) -> str:
    """Return a set of capabilities given as the two words that the kernel keeps them in."""
    words = [_names(low, _LOW)] if low else []
    if high:
        words.append(_names(high, _HIGH))
    return "|".join(words) or "0"


class Capabilities(Kind):
    """``struct __user_cap_data_struct``, one or two of them as the header's version says."""

    __slots__ = ()
    reads = True

    def read_entry(self, value: int, call: Call) -> None:
        """See ``Kind.read_entry``."""
        if self.out:
            self.words(call)
        else:
            super().read_entry(value, call)

    @staticmethod
    def words(call: Call) -> int:
        """Return how many structures there are."""
        header = call.entered.read(call.args[0], _HEADER.size) if call.args[0] else b""
        if len(header) < _HEADER.size:
            return 1
        return 2 if _HEADER.unpack(header)[0] in VERSIONS_OF_64 else 1

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and call.errno):
            return address_text(value)
        size = _SET.size * self.words(call)
        data = self.memory(call).read(value, size)
        if len(data) < size:
            return hex(value)
        low = _SET.unpack_from(data)
        high = _SET.unpack_from(data, _SET.size) if size > _SET.size else (0, 0, 0)
        effective, permitted, inheritable = (capabilities_text(a, b) for a, b in zip(low, high, strict=True))
        return f"{{effective={effective}, permitted={permitted}, inheritable={inheritable}}}"


_NONE = Signature()
_INT = Int()


def _signatures(item: Kind, size: int, suffix: str = "") -> dict[str, Signature]:
    """Return the calls that take users and groups of ``size`` bytes."""
    out = Pointer(item, size, out=True)
    one, two, three = Signature(item), Signature(item, item), Signature(item, item, item)
    got = Signature(out, out, out)
    return {
        f"setuid{suffix}": one,
        f"setgid{suffix}": one,
        f"setfsuid{suffix}": one,
        f"setfsgid{suffix}": one,
        f"setreuid{suffix}": two,
        f"setregid{suffix}": two,
        f"setresuid{suffix}": three,
        f"setresgid{suffix}": three,
        f"getresuid{suffix}": got,
        f"getresgid{suffix}": got,
        f"getgroups{suffix}": Signature(_INT, Groups(item, size, out=True)),
        f"setgroups{suffix}": Signature(_INT, Groups(item, size)),
    }


SIGNATURES = {
    "getuid": _NONE,
    "geteuid": _NONE,
    "getgid": _NONE,
    "getegid": _NONE,
    "capget": Signature(Header(_HEADER.size), Capabilities(out=True)),
    "capset": Signature(Header(_HEADER.size), Capabilities()),
    **_signatures(Id(), 4),
}
I386_SIGNATURES = {
    "getuid32": _NONE,
    "geteuid32": _NONE,
    "getgid32": _NONE,
    "getegid32": _NONE,
    **_signatures(Id(16), 2),
    **_signatures(Id(), 4, "32"),
}
