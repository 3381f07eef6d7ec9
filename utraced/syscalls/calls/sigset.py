"""Sets of signals."""

from __future__ import annotations

from collections.abc import Callable

from utraced.syscalls.basics import Struct, address_text
from utraced.syscalls.call import Call
from utraced.syscalls.signals import signal_name

SIGNALS = 64
MANY = SIGNALS * 2 // 3
"""From this many signals on, strace writes the signals that are not in the set."""


def sigset_text(mask: int) -> str:
    """Return the set whose bit ``n - 1`` is signal ``n``: ``[INT CHLD]``, or ``~[RTMIN]`` for a set of most."""
    sign = ""
    if mask.bit_count() >= MANY:
        sign = "~"
        mask ^= (1 << SIGNALS) - 1
    names = [signal_name(n).removeprefix("SIG") for n in range(1, SIGNALS + 1) if mask >> (n - 1) & 1]
    return f"{sign}[{' '.join(names)}]"


class SigSet(Struct):
    """A ``sigset_t`` whose size in bytes is the argument ``length``, or what a function of the call tells."""

    __slots__ = ("length",)

    def __init__(self, length: int | Callable[[Call], int], *, out: bool = False) -> None:
        super().__init__(out=out)
        self.length = length

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return self.length(call) if callable(self.length) else call.args[self.length]

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``; a size that the kernel has no sets of leaves the bare address."""
        size = self.size(call)
        if not size or size > SIGNALS // 8 or size % call.abi.word:
            return address_text(value)
        return super().render(value, call)

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        return sigset_text(int.from_bytes(data, "little"))
