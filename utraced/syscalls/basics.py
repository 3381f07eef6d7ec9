"""Kinds of arguments that many system calls share.  What they print was seen from strace 6.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from .call import Call
from .kinds import Kind
from .quote import quote_bytes
from .signals import signal_name

Table = tuple[tuple[int, str], ...]
Count = int | Literal["result"] | Callable[[Call], int]
"""Where a length is told: the index of an argument, the call's result, or a function of the call."""

PATH_MAX = 4096
AT_FDCWD = -100
SIGN_32 = 1 << 31
SIGN_64 = 1 << 63
MASK_32 = (1 << 32) - 1


def signed_32(value: int) -> int:
    """Return the low 32 bits of ``value`` as an int."""
    value &= MASK_32
    return value - (1 << 32) if value & SIGN_32 else value


def signed_64(value: int) -> int:
    """Return ``value``, an unsigned 64-bit number, as a long."""
    return value - (1 << 64) if value & SIGN_64 else value


def address_text(value: int) -> str:
    """Return an address as strace writes it, which is also how it shows what it cannot read."""
    return hex(value) if value else "NULL"


def hex_text(value: int) -> str:
    """Return ``value`` as C's ``%#x`` does: zero has no prefix."""
    return hex(value) if value else "0"


def flags_text(value: int, table: Table, unknown: str = "") -> str:
    """Return the names of the bits in ``value``, tried in the table's order.

    Bits without a name come last in hexadecimal; where no bit has a name, ``unknown`` (as ``O_???``) follows in a
    comment.  Zero is the table's name for zero, else ``0``.
    """
    if not value:
        for bits, name in table:
            if not bits:
                return name
        return "0"
    names = []
    for bits, name in table:
        if bits and value & bits == bits:
            names.append(name)
            value &= ~bits
            if not value:
                return "|".join(names)
    if names:
        return f"{'|'.join(names)}|{value:#x}"
    return f"{value:#x} /* {unknown} */" if unknown else hex(value)


_BY_VALUE: dict[int, tuple[Table, dict[int, str]]] = {}
"""By the table's identity; holding the table keeps that its own."""


def enum_text(value: int, table: Table, unknown: str = "") -> str:
    """Return the table's first name for ``value``, else ``value`` with ``unknown`` (as ``SEEK_???``) in a comment."""
    known = _BY_VALUE.get(id(table))
    if known is None:
        known = _BY_VALUE[id(table)] = (table, dict(reversed(table)))
    name = known[1].get(value)
    if name is not None:
        return name
    return f"{hex_text(value)} /* {unknown} */" if unknown else hex_text(value)


def count_of(count: Count, call: Call) -> int:
    """Return the length that ``count`` means in ``call``, never negative."""
    if callable(count):
        return max(count(call), 0)
    if count == "result":
        return max(call.result or 0, 0)
    return call.args[count]


class Int(Kind):
    """A signed 32-bit number."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= MASK_32
        return str(value - (1 << 32) if value & SIGN_32 else value)


class Long(Kind):
    """A signed number as wide as the caller's registers."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(signed_64(value) if call.abi.word == 8 else signed_32(value))


class Unsigned(Kind):
    """An unsigned 32-bit number."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(value & MASK_32)


class UnsignedLong(Kind):
    """An unsigned number as wide as the caller's registers."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(value)


class Size(UnsignedLong):
    """A length in bytes."""

    __slots__ = ()


class Pid(Int):
    """The number of a process, thread, group or session."""

    __slots__ = ()


class Fd(Int):
    """A file descriptor."""

    __slots__ = ()


class DirFd(Int):
    """A directory's descriptor, or AT_FDCWD."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        number = signed_32(value)
        return "AT_FDCWD" if number == AT_FDCWD else str(number)


class Hex(Kind):
    """A number in hexadecimal; zero is ``0``."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return hex(value) if value else "0"


class Address(Kind):
    """An address that is not followed; zero is ``NULL``."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return hex(value) if value else "NULL"


class Octal(Kind):
    """A number in octal with a leading zero."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return f"0{value:o}" if value else "0"


def mode_text(mode: int) -> str:
    """Return permission bits as strace writes them, in three octal digits or more."""
    return f"{'0' if mode else ''}{mode & 0xFFFF:o}".rjust(3, "0")


class Mode(Kind):
    """Permission bits: octal, at least three digits."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return mode_text(value & 0xFFFF)


class Signal(Kind):
    """A signal by name; numbers that are none stay numbers."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return signal_name(signed_32(value))


class Path(Kind):
    """A file's name: a C string shown whole, whatever the limit on strings."""

    __slots__ = ()
    reads = True
    string = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and call.errno):
            return address_text(value)
        data, ended = self.memory(call).string(value, PATH_MAX - 1)
        if ended:
            return quote_bytes(data)
        return quote_bytes(data, truncated=True) if len(data) == PATH_MAX - 1 else hex(value)


class Text(Kind):
    """A C string, cut at the limit on strings."""

    __slots__ = ()
    reads = True
    string = True

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and call.errno):
            return address_text(value)
        data, ended = self.memory(call).string(value, call.limit)
        if ended:
            return quote_bytes(data)
        return quote_bytes(data, truncated=True) if len(data) == call.limit else hex(value)


def buffer_text(address: int, size: int, call: Call, *, out: bool = False) -> str:
    """Return the ``size`` bytes at ``address``, cut at the limit on strings."""
    if not address:
        return "NULL"
    shown = min(size, call.limit)
    data = (call.left if out else call.entered).read(address, shown) if shown else b""
    return quote_bytes(data, truncated=size > shown) if len(data) == shown else hex(address)


class Buffer(Kind):
    """Bytes whose number an argument or the result tells, cut at the limit on strings."""

    __slots__ = ("length",)
    reads = True
    string = True

    def __init__(self, length: Count, *, out: bool = False) -> None:
        super().__init__(out=out)
        self.length = length

    def extent(self, call: Call) -> int | None:
        """See ``Kind.extent``."""
        return count_of(self.length, call)

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if self.out and call.errno:
            return address_text(value)
        return buffer_text(value, count_of(self.length, call), call, out=self.out)


class Enum(Kind):
    """A number with one name; ``unknown`` (as ``SEEK_???``) is the comment for one without.

    ``bits`` is how much of the register counts.
    """

    __slots__ = ("mask", "names", "unknown")

    def __init__(self, table: Table, unknown: str = "", *, bits: int = 32) -> None:
        super().__init__()
        self.mask = (1 << bits) - 1
        self.names: dict[int, str] | Table = table
        self.unknown = unknown

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        names = self.names
        if not isinstance(names, dict):
            names = self.names = {number & self.mask: name for number, name in reversed(names)}
        value &= self.mask
        name = names.get(value)
        if name is not None:
            return name
        return f"{hex_text(value)} /* {self.unknown} */" if self.unknown else hex_text(value)


class Flags(Kind):
    """A set of bits with names; ``unknown`` (as ``O_???``) is the comment where none has one.

    ``bits`` is how much of the register counts.
    """

    __slots__ = ("mask", "seen", "table", "unknown")
    CACHED: ClassVar[int] = 256

    def __init__(self, table: Table, unknown: str = "", *, bits: int = 32) -> None:
        super().__init__()
        self.mask = (1 << bits) - 1
        self.seen: dict[int, str] = {}
        self.table = table
        self.unknown = unknown

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        value &= self.mask
        text = self.seen.get(value)
        if text is None:
            text = flags_text(value, self.table, self.unknown)
            if len(self.seen) < self.CACHED:
                self.seen[value] = text
        return text


class Struct(Kind):
    """Base of structures behind a pointer: the bare address where it cannot be read or the call did not fill it in."""

    __slots__ = ("bytes",)
    reads = True

    def __init__(self, size: int = 0, *, out: bool = False) -> None:
        super().__init__(out=out)
        self.bytes = size

    def size(self, call: Call) -> int:
        """Return the structure's length in bytes for the caller's ABI."""
        return self.bytes

    def text(self, data: bytes, call: Call) -> str:
        """Return the text of a structure of exactly ``size`` bytes."""
        raise NotImplementedError

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and call.errno):
            return address_text(value)
        size = self.size(call)
        data = self.memory(call).read(value, size)
        return self.text(data, call) if len(data) == size else hex(value)


class Pointer(Struct):
    """A pointer to one number, written ``[3]``; ``size`` in bytes, 0 for the width of the caller's registers."""

    __slots__ = ("item",)

    def __init__(self, item: Kind, size: int = 4, *, out: bool = False) -> None:
        super().__init__(size, out=out)
        self.item = item

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return self.bytes or call.abi.word

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        return f"[{self.item.render(int.from_bytes(data, 'little'), call)}]"


class Array(Kind):
    """Numbers or structures one after another, as many of them shown as the limit on strings says.

    ``size`` is one number's length in bytes, 0 for the width of the caller's registers; a structure knows its own.
    """

    __slots__ = ("bytes", "count", "item")
    reads = True

    def __init__(self, item: Kind, count: Count, *, size: int = 4, out: bool = False) -> None:
        super().__init__(out=out)
        self.item = item
        self.count = count
        self.bytes = size

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if not value or (self.out and call.errno):
            return address_text(value)
        return array_text(value, count_of(self.count, call), self.item, call, size=self.bytes, out=self.out)


def array_text(  # noqa: PLR0913 - an Array and what it is of
    address: int, count: int, item: Kind, call: Call, *, size: int = 4, out: bool = False
) -> str:
    """Return ``[first, second, ...]`` for ``count`` items at ``address``; see ``Array``."""
    if not address:
        return "NULL"
    if not count:
        return "[]"
    structure = item if isinstance(item, Struct) else None
    size = structure.size(call) if structure is not None else size or call.abi.word
    if address + count * size > 1 << (8 * call.abi.word):
        return hex(address)
    shown = min(count, call.limit)
    data = (call.left if out else call.entered).read(address, shown * size)
    texts = []
    for start in range(0, len(data) - size + 1, size):
        part = data[start : start + size]
        texts.append(structure.text(part, call) if structure else item.render(int.from_bytes(part, "little"), call))
    if len(texts) < shown:
        if not texts:
            return hex(address)
        texts.append(f"... /* {address + len(texts) * size:#x} */")
    elif count > shown:
        texts.append("...")
    return f"[{', '.join(texts)}]"
