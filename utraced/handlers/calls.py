"""Sets of system calls as clients name them: names, numbers, classes."""

from __future__ import annotations

from utraced.api.engine import CallFilter, CallSet, CallsTold
from utraced.errors import InvalidParams
from utraced.observing.selection import Selection
from utraced.syscalls.abi import ABIS, X32_SYSCALL_BIT, Abi
from utraced.syscalls.filter import ALL, UnknownCall


def selection(calls: CallSet | CallFilter | None) -> Selection:
    """Return a new selection of these calls; None is all.

    Raises InvalidParams for a word that is no call and no class, with the nearest one.
    """
    if not isinstance(calls, CallFilter):
        calls = CallFilter(set=calls)
    return changed(Selection(), calls)


def changed(chosen: Selection, wanted: CallFilter | None) -> Selection:
    """Return a selection changed as asked; raises InvalidParams."""
    chosen = chosen.copy()
    if wanted is None:
        return chosen
    try:
        if wanted.set is not None:
            chosen.choose(_words(wanted.set))
        if wanted.add is not None:
            chosen.add(_words(wanted.add))
        if wanted.remove is not None:
            chosen.remove(_words(wanted.remove))
    except UnknownCall as error:
        near = (
            f"Did you mean {error.nearest}?" if error.nearest else "Names are the kernel's, classes strace's (%file)."
        )
        raise InvalidParams(str(error), hint=near, member=error.word) from error
    if wanted.enabled is not None:
        chosen.enabled = wanted.enabled
    return chosen


def told(chosen: Selection) -> CallsTold:
    """Return a selection as clients write one."""
    numbers = chosen.calls.numbers
    names = sorted({_word(abi, nr) for abi in ABIS.values() for nr in numbers[abi.name]})
    if chosen.calls.inverted:
        return CallsTold(enabled=chosen.enabled, set="all", excluded=tuple(names))
    return CallsTold(enabled=chosen.enabled, set=tuple(names))


def _word(abi: Abi, nr: int) -> str:
    """Return the word for a call: its name, or its number where it has none."""
    name = abi.names.get(nr)
    return str(nr & ~X32_SYSCALL_BIT) if name is None else name.removesuffix("#64")


def _words(calls: CallSet) -> tuple[str | int, ...]:
    return (ALL,) if isinstance(calls, str) else tuple(calls)
