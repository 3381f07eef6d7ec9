"""Which system calls an engine or trace wants: a set that can be added to and taken from, with a master switch."""

from __future__ import annotations

from collections.abc import Iterable

from utraced.syscalls.abi import Abi
from utraced.syscalls.filter import ALL, select
from utraced.syscalls.filter import Selection as Calls

Words = Iterable[str | int]


class Selection:
    """A filter of system calls; at first enabled, all.

    ``calls`` is the set, ``enabled`` the switch, which keeps it.  Words are what ``filter.select`` takes: names,
    numbers and classes; every method that takes them raises UnknownCall before it changes anything.
    """

    __slots__ = ("calls", "enabled")

    def __init__(self, words: Words = (ALL,)) -> None:
        self.enabled = True
        self.calls = select(words)

    def wants(self, abi: Abi, nr: int) -> bool:
        """Tell whether call ``nr`` of ``abi`` is wanted."""
        return self.enabled and self.calls.has(abi, nr)

    def choose(self, words: Words) -> None:
        """Replace the set."""
        self.calls = select(words)

    def add(self, words: Words) -> None:
        """Add to the set."""
        self.calls = ~_without(~self.calls, select(words))

    def remove(self, words: Words) -> None:
        """Take out of the set."""
        self.calls = _without(self.calls, select(words))

    def copy(self) -> Selection:
        """Return an independent copy."""
        other = Selection()
        other.enabled = self.enabled
        other.calls = self.calls
        return other


def _without(calls: Calls, others: Calls) -> Calls:
    """Return ``calls`` less ``others``; either may be told by what it leaves out."""
    combined = {}
    for name, numbers in calls.numbers.items():
        more = others.numbers[name]
        if calls.inverted:
            combined[name] = more - numbers if others.inverted else numbers | more
        else:
            combined[name] = numbers & more if others.inverted else numbers - more
    return Calls(calls.inverted and not others.inverted, combined, ())
