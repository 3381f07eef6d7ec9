"""Arguments that stand elsewhere than strace shows them, or that it leaves out.

32-bit callers pass 64-bit numbers in two registers, the lower half first, which moves all that follows.
"""

from __future__ import annotations

from utraced.syscalls.basics import MASK_32, address_text, signed_64
from utraced.syscalls.call import Call
from utraced.syscalls.kinds import Kind


class At(Kind):
    """What the argument ``index`` is, shown here; ``kind`` knows how."""

    __slots__ = ("index", "kind")

    def __init__(self, index: int, kind: Kind) -> None:
        super().__init__(out=kind.out)
        self.index = index
        self.kind = kind

    @property
    def reads(self) -> bool:  # type: ignore[override]
        """Whether the kind reads memory."""
        return self.kind.reads

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return self.kind.render(call.args[self.index], call)


class Packed(Kind):
    """All arguments of a call that takes them as an array of longs behind one pointer, as i386's first mmap."""

    __slots__ = ("kinds",)
    reads = True

    def __init__(self, *kinds: Kind) -> None:
        super().__init__()
        self.kinds = kinds

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``; the kinds cannot look at other arguments."""
        word = call.abi.word
        size = word * len(self.kinds)
        data = call.entered.read(value, size) if value else b""
        if len(data) < size:
            return address_text(value)
        values = [int.from_bytes(data[start : start + word], "little") for start in range(0, size, word)]
        return ", ".join([kind.render(item, call) for kind, item in zip(self.kinds, values, strict=True)])


class Offset(Kind):
    """A signed 64-bit number that a 32-bit caller passes in the arguments ``index`` and ``index + 1``."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def number(self, value: int, call: Call) -> int:
        """Return the unsigned number."""
        if call.abi.name != "i386":
            return value
        return call.args[self.index] & MASK_32 | (call.args[self.index + 1] & MASK_32) << 32

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(signed_64(self.number(value, call)))


class Length(Offset):
    """The same, unsigned."""

    __slots__ = ()

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        return str(self.number(value, call))
