"""A system call's signature: its arguments' kinds, its result's kind, and the classes it is in."""

from __future__ import annotations

from collections.abc import Callable

from .call import Call
from .kinds import Kind


class Returns:
    """How a result is written after ``= ``; see ``results`` for the special ones."""

    __slots__ = ()
    reads = False

    def render(self, call: Call) -> str:
        """Return the text of ``call.result``, which did not fail."""
        return str(call.result)

    def read_return(self, call: Call) -> None:
        """Read from ``call.left`` all that ``render`` will want."""
        if self.reads:
            self.render(call)


RETURNS_INT = Returns()


class Signature:
    """The arguments of a call and its result.

    ``choose``, where a command decides what the other arguments are (ioctl, fcntl, prctl): takes the call, returns the
    signature to use.
    """

    __slots__ = ("choose", "kinds", "reads_entry", "reads_return", "returns")

    def __init__(
        self, *kinds: Kind, returns: Returns = RETURNS_INT, choose: Callable[[Call], Signature] | None = None
    ) -> None:
        self.kinds = kinds
        self.returns = returns
        self.choose = choose
        self.reads_entry = tuple((i, kind) for i, kind in enumerate(kinds) if kind.reads)
        self.reads_return = self.reads_entry

    def of(self, call: Call) -> Signature:
        """Return the signature that holds for this very call."""
        return self.choose(call) if self.choose is not None else self
