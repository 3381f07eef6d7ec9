"""The filter by paths: calls of which a path among the arguments begins as asked for, as the program has written it."""

from __future__ import annotations

from functools import lru_cache

from utraced.errors import InvalidParams
from utraced.syscalls.abi import Abi
from utraced.syscalls.captures import captures_of, paths_of
from utraced.syscalls.memory import Memory

from .stop import SyscallStop

MOST_BYTES = 256
"""Of the beginning of a path."""


def prefix_of(text: str | None) -> bytes:
    """Return the bytes of the beginning that is asked for, none for None; raises InvalidParams."""
    prefix = (text or "").encode()
    if b"\0" in prefix:
        raise InvalidParams("a path has no NUL", member="path_prefix")
    if len(prefix) > MOST_BYTES:
        raise InvalidParams(f"the beginning of a path has at most {MOST_BYTES} bytes", member="path_prefix")
    return prefix


@lru_cache(maxsize=4096)
def path_arguments(abi: Abi, nr: int) -> tuple[int, ...]:
    """Return which arguments of a call are paths."""
    return paths_of(captures_of(abi, nr))


def names_path(prefix: bytes, abi: Abi, stop: SyscallStop, memory: Memory) -> bool:
    """Tell whether a path that a call names at its entry begins with ``prefix``."""
    size = len(prefix)
    return any(
        stop.args[index] and memory.string(stop.args[index], size)[0] == prefix
        for index in path_arguments(abi, stop.nr)
    )
