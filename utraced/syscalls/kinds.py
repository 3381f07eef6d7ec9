"""Kinds of arguments: what to read for one, and how strace writes it.

A kind is the single place that knows an argument: ``render`` gives strace's text, and because reading is done by
rendering over a recording memory, what a kind reads and what it prints cannot disagree.
"""

from __future__ import annotations

from .call import Call
from .memory import Memory


class Kind:
    """Base of all argument kinds; instances are immutable and shared.

    ``out``: the kernel fills it in, so it is shown when the call returns (and strace stops before it when it writes
    ``<unfinished ...>``).  ``reads``: looks at the target's memory.  ``string``: what it reads at the argument's own
    address is a string or buffer, told to clients under ``strings``.  ``joins``: its text begins with what separates it
    from the argument before, because strace writes that at the call's return too.
    """

    __slots__ = ("out",)
    reads = False
    string = False
    joins = False

    def __init__(self, *, out: bool = False) -> None:
        self.out = out

    def render(self, value: int, call: Call) -> str:
        """Return strace's text for the raw argument ``value`` of ``call``."""
        raise NotImplementedError

    def read_entry(self, value: int, call: Call) -> None:
        """Read from ``call.entered`` all that ``render`` will want of the memory at entry."""
        if not self.out:
            self.render(value, call)

    def read_return(self, value: int, call: Call) -> None:
        """Read from ``call.left`` all that ``render`` will want of the memory at return."""
        if self.out:
            self.render(value, call)

    def extent(self, call: Call) -> int | None:
        """Return how many bytes a buffer has in all, None for what is no buffer; what was read may be fewer."""
        return None

    def memory(self, call: Call) -> Memory:
        """Return the memory of the moment at which this argument is shown."""
        return call.left if self.out else call.entered
