"""Calls that are seen beside those of a trace: by which processes come and go, and by which they become another's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from utraced.syscalls.abi import ABIS

Role = Literal["end", "end_all", "birth", "birth_unseen", "hide", "move", "become"]

_COMMON: dict[str, Role] = {
    "exit": "end",
    "exit_group": "end_all",
    "fork": "birth",
    "vfork": "birth",
    "clone": "birth",
    "clone3": "birth_unseen",
}
_GUARDED: dict[str, Role] = {
    "prctl": "hide",
    "unshare": "move",
    "setns": "move",
    **dict.fromkeys(
        (
            name + suffix
            for name in ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid")
            for suffix in ("", "32")
        ),
        "become",
    ),
}
PR_SET_DUMPABLE, DUMPABLE = 4, 1
CLONE_NEWUSER = 0x10000000
"""include/uapi/linux/prctl.h, sched.h."""
_MASK, _SHORT = 0xFFFFFFFF, 0xFFFF
"""Of ids in calls; all their bits stand for no change."""


class Watched(NamedTuple):
    """A call that is seen beside; ``mask`` is of its ids."""

    name: str
    role: Role
    mask: int = _MASK


@lru_cache(maxsize=2)
def watched(*, guarded: bool) -> dict[tuple[int, int], Watched]:
    """Return what calls are seen beside, by ABI (0 x86_64, 1 i386) and number, x32's bit left out."""
    roles = {**_COMMON, **_GUARDED} if guarded else _COMMON
    return {
        (index, number): Watched(name, roles[name], _SHORT if index and not name.endswith("32") else _MASK)
        for index, abi in enumerate(("x86_64", "i386"))
        for number, name in ABIS[abi].names.items()
        if name in roles
    }


def numbers(*, guarded: bool) -> Iterator[int]:
    """Give the numbers, of any ABI, that what is seen beside can have."""
    for abi, number in watched(guarded=guarded):
        yield number
        if abi == 0:
            yield number | 0x40000000


def leaves(call: Watched, arguments: tuple[int, ...], owner: tuple[int, int], *, moved: bool) -> bool:
    """Tell whether a call may make its process another's, whose uid and gid are ``owner``.

    ``moved``: it may be in another user namespace, where numbers mean other users.
    """
    first, second = arguments[0] & _MASK, arguments[1] & _MASK
    match call.role:
        case "hide":
            return first == PR_SET_DUMPABLE and second != DUMPABLE
        case "move":
            # setns(2) with 0 goes to any kind of namespace.
            flags = second if call.name == "setns" else first
            return bool(flags & CLONE_NEWUSER) or (call.name == "setns" and not flags)
        case "birth":
            return call.name == "clone" and bool(first & CLONE_NEWUSER)
        case "become":
            given = {number & call.mask for number in arguments[: _COUNTS.get(call.name.removesuffix("32"), 1)]}
            own = owner[1] if "gid" in call.name else owner[0]
            return moved or bool(given - {own, call.mask})
        case _:
            return False


_COUNTS = {"setreuid": 2, "setregid": 2, "setresuid": 3, "setresgid": 3}
"""Arguments of calls that have more than one."""
