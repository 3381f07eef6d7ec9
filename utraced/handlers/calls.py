"""Sets of system calls as clients name them: names, numbers, classes."""

from __future__ import annotations

from difflib import get_close_matches

from utraced.api.engine import CallFilter, CallName, CallSet
from utraced.errors import InvalidParams
from utraced.syscalls.abi import ABIS
from utraced.syscalls.classes import CLASSES
from utraced.tracing.selection import Selection


def everything() -> frozenset[str]:
    """Return the names of all calls of all ABIs."""
    return frozenset(name for abi in ABIS.values() for name in abi.names.values())


def resolve(calls: tuple[CallName, ...]) -> tuple[frozenset[str], frozenset[int]]:
    """Return the names and the numbers that a client's list means.

    Raises InvalidParams for a name or class that is none, with the nearest one.
    """
    names: set[str] = set()
    numbers: set[int] = set()
    known = everything()
    for call in calls:
        if isinstance(call, int):
            name = ABIS["x86_64"].names.get(call)
            if name is None:
                numbers.add(call)
            else:
                names.add(name)
        elif call.startswith("%"):
            members = CLASSES.get(call[1:])
            if members is None:
                raise _unknown(call, [f"%{name}" for name in CLASSES])
            names |= members
        elif call in known or call.startswith("syscall_0x"):
            names.add(call)
        else:
            raise _unknown(call, sorted(known))
    return frozenset(names), frozenset(numbers)


def _unknown(word: str, known: list[str]) -> InvalidParams:
    near = get_close_matches(word, known, 1)
    hint = f"Did you mean {near[0]}?" if near else "Names are those of the kernel, classes those of strace (%file)."
    return InvalidParams(f"there is no system call {word!r}", hint=hint, member=word)


def selection(calls: CallSet | CallFilter | None) -> Selection:
    """Return a new selection of these calls; None is all."""
    chosen = Selection()
    change(chosen, calls if isinstance(calls, CallFilter) else CallFilter(set=calls))
    return chosen


def change(chosen: Selection, wanted: CallFilter | None) -> None:
    """Change a selection; raises InvalidParams before anything is changed."""
    if wanted is None:
        return
    exactly, more, fewer = _resolved(wanted.set), _resolved(wanted.add), _resolved(wanted.remove)
    if wanted.set is not None:
        chosen.choose(*(exactly or (None,)))
    if wanted.add is not None:
        chosen.add(*more) if more else chosen.choose(None)
    if wanted.remove is not None:
        chosen.remove(*fewer, everything()) if fewer else chosen.choose(())
    if wanted.enabled is not None:
        chosen.enabled = wanted.enabled


def _resolved(calls: CallSet | None) -> tuple[frozenset[str], frozenset[int]] | None:
    """Return the names and numbers, None for all (or where nothing is said)."""
    return None if calls is None or calls == "all" else resolve(tuple(calls))
