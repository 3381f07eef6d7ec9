"""Which system calls are wanted: a set of names with a master switch, answered per ABI by number."""

from __future__ import annotations

from collections.abc import Iterable

from utraced.syscalls.abi import Abi

_REMEMBERED = 4096


class Selection:
    """A filter of system calls; at first enabled, all.

    ``names`` is None for all.  Numbers given by the client are kept as names where the ABI knows them, as numbers
    where not, so that a set means the same call in every ABI.
    """

    __slots__ = ("_wanted", "enabled", "names", "numbers")

    def __init__(self, names: Iterable[str] | None = None, numbers: Iterable[int] = ()) -> None:
        self.enabled = True
        self.names: frozenset[str] | None = None if names is None else frozenset(names)
        self.numbers = frozenset(numbers)
        self._wanted: dict[tuple[str, int], bool] = {}

    def wants(self, abi: Abi, nr: int) -> bool:
        """Tell whether call ``nr`` of ``abi`` is wanted."""
        if self.names is None:
            return self.enabled
        if not self.enabled:
            return False
        wanted = self._wanted.get((abi.name, nr))
        if wanted is None:
            wanted = abi.name_of(nr) in self.names or nr in self.numbers
            if len(self._wanted) >= _REMEMBERED:  # a target may make calls of any number
                self._wanted.clear()
            self._wanted[abi.name, nr] = wanted
        return wanted

    def choose(self, names: Iterable[str] | None, numbers: Iterable[int] = ()) -> None:
        """Replace the set; None is all."""
        self.names = None if names is None else frozenset(names)
        self.numbers = frozenset(numbers)
        self._wanted.clear()

    def add(self, names: Iterable[str], numbers: Iterable[int] = ()) -> None:
        """Add to the set."""
        if self.names is not None:
            self.choose(self.names | frozenset(names), self.numbers | frozenset(numbers))

    def remove(self, names: Iterable[str], numbers: Iterable[int], everything: frozenset[str]) -> None:
        """Take out of the set, of which ``everything`` is the whole when it was all."""
        present = everything if self.names is None else self.names
        self.choose(present - frozenset(names), self.numbers - frozenset(numbers))

    def copy(self) -> Selection:
        """Return an independent copy."""
        other = Selection(self.names, self.numbers)
        other.enabled = self.enabled
        return other
