"""Which system calls a trace is about: strace's ``-e trace=SET``, and the words of the protocol's filters."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .abi import ABIS, X32_SYSCALL_BIT, Abi
from .classes import BARE, CLASSES

ALL = "all"
NONE = "none"
HIGHEST_NUMBER = 0xFFFF
_SUFFIXES = {"@64": "x86_64", "@32": "i386", "@x32": "x32"}

Numbers = dict[str, frozenset[int]]


class UnknownCall(ValueError):
    """A word that names no system call and no class; ``nearest`` is a word that it may stand for."""

    def __init__(self, word: str, nearest: str | None = None, *, why: str = "no such system call or class") -> None:
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        super().__init__(f"{why}: {word!r}{hint}")
        self.word = word
        self.nearest = nearest


class Selection(NamedTuple):
    """A set of system calls of all ABIs.

    ``numbers`` has the numbers chosen, by the ABI's name; ``inverted``: all but those, numbers without a name
    included.  ``words`` say the same to ``select``.
    """

    inverted: bool
    numbers: Numbers
    words: tuple[str, ...]

    def has(self, abi: Abi, nr: int) -> bool:
        """Return whether call ``nr`` of ``abi`` is selected."""
        return (nr in self.numbers[abi.name]) is not self.inverted

    def __invert__(self) -> Selection:
        """Return the selection of all other calls."""
        return self._replace(inverted=not self.inverted)


def select(words: Iterable[str | int], *, inverted: bool = False) -> Selection:
    """Return the calls that ``words`` name: names, numbers, classes as ``%file``, ``all``, ``none``.

    A word that ends in ``@64``, ``@32`` or ``@x32`` counts for that ABI alone.  Raises UnknownCall.
    """
    given = tuple(str(word) for word in words)
    if ALL in given:
        return Selection(not inverted, _none(), ())
    chosen: dict[str, set[int]] = {name: set() for name in ABIS}
    for word in given:
        if word != NONE:
            _add(chosen, _numbers(word))
    return Selection(inverted, {name: frozenset(numbers) for name, numbers in chosen.items()}, given)


def parse_trace(text: str) -> Selection:
    """Return the calls that the value of ``-e trace=`` selects.

    It is a list with commas of what ``select`` takes, and ``/REGEX`` for all names in which the expression is found;
    ``!`` before the list inverts it, ``?`` before a word lets it name nothing.  Raises UnknownCall.
    """
    rest = text.lstrip("!")
    if not rest.strip(","):
        raise UnknownCall(text)
    inverted = (len(text) - len(rest)) % 2 == 1
    return select(list(_expand(rest)), inverted=inverted)


def _expand(text: str) -> Iterator[str]:
    """Yield the words of a list with expressions replaced and optional unknown words left out."""
    for item in filter(None, text.split(",")):
        optional = item.startswith("?")
        word = item.lstrip("?")
        if word.startswith("/"):
            found = _matching(word)
            if not found and not optional:
                raise UnknownCall(word, why="no system call matches")
            yield from found
            continue
        if not word:
            continue
        if optional and word != ALL:
            try:
                _numbers(word)
            except UnknownCall:
                continue
        yield word


def _matching(word: str) -> list[str]:
    """Return the names that the expression after the slash of ``word`` is found in."""
    expression, suffix = _split(word[1:])
    try:
        with warnings.catch_warnings():
            # Of what later versions of Python may read otherwise, as "[[": no concern of who typed it.
            warnings.simplefilter("ignore")
            search = re.compile(expression).search
    except (re.error, OverflowError, RecursionError) as error:
        raise UnknownCall(word, why=f"not a regular expression ({error})") from None
    names = {name for abi in ABIS.values() for name in abi.numbers if "#" not in name and search(name)}
    return sorted(name + suffix for name in names)


def _split(word: str) -> tuple[str, str]:
    """Return a word without and with only the suffix that names an ABI."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix):
            return word.removesuffix(suffix), suffix
    return word, ""


def _none() -> Numbers:
    """Return no number of any ABI."""
    return dict.fromkeys(ABIS, frozenset())


def _add(chosen: dict[str, set[int]], numbers: dict[str, set[int]]) -> None:
    """Put ``numbers`` into ``chosen``."""
    for name, some in numbers.items():
        chosen[name] |= some


def _numbers(word: str) -> dict[str, set[int]]:
    """Return the numbers that one word means, by ABI."""
    base, suffix = _split(word)
    abis = [ABIS[_SUFFIXES[suffix]]] if suffix else list(ABIS.values())
    if base.isascii() and base.isdecimal():
        number = int(base) if len(base) <= len(str(HIGHEST_NUMBER)) else HIGHEST_NUMBER + 1
        if number > HIGHEST_NUMBER:
            raise UnknownCall(word, why="no number of a system call")
        return {abi.name: {number | X32_SYSCALL_BIT if abi.name == "x32" else number} for abi in abis}
    members = CLASSES.get(f"%{base}" if base in BARE else base)
    found = {abi.name: _of(abi, members if members is not None else [base]) for abi in abis}
    if members is None and not any(found.values()):
        raise UnknownCall(word, _nearest(base))
    return found


def _of(abi: Abi, names: Iterable[str]) -> set[int]:
    """Return the numbers of ``names`` in ``abi``; x32 has two for some."""
    spellings = [name for name in names for name in ((name, f"{name}#64") if abi.name == "x32" else (name,))]
    return {number for name in spellings if (number := abi.number(name)) is not None}


def _nearest(word: str) -> str | None:
    """Return the name or class that ``word`` is most likely meant to be."""
    from difflib import get_close_matches

    names = set(CLASSES).union(*(abi.numbers for abi in ABIS.values()))
    found = get_close_matches(word.lower(), sorted(name for name in names if "#" not in name), n=1)
    return found[0] if found else None
