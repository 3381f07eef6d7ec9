"""Arguments that stand elsewhere than strace shows them, or that it leaves out.

32-bit callers pass 64-bit numbers in two registers, the lower half first, which moves all that follows.
"""

from __future__ import annotations

from ..basics import MASK_32, signed_64
from ..call import Call
from ..kinds import Kind


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
