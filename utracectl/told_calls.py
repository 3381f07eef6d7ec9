"""Calls as the decoders of strace's text take them, made of the events that tell of them."""

from __future__ import annotations

from collections.abc import Iterable

from utraced.api.events import Fragment, Syscall, SyscallEntry, Text
from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.memory import NOTHING, Snapshot
from utraced.syscalls.memory import Fragment as Known


def call_of(event: Syscall | SyscallEntry, limit: int) -> Call:
    """Return the call an event tells of, as decoders take it; ``limit`` is strace's -s."""
    entered = left = NOTHING
    memory = event.memory
    strings = event.strings
    args = [int(text, 16) for text in event.args]
    if memory or strings:
        before, after = _fragments(memory or (), strings, args)
        entered = Snapshot(before)
        left = Snapshot(after)
    result = None
    errno = 0
    if isinstance(event, Syscall) and not event.unfinished:
        result = event.result
        if event.errno is not None and result is not None:
            errno = -result
    return Call(
        ABIS[event.arch],
        event.nr,
        tuple(args),
        limit=limit,
        entered=entered,
        left=left,
        result=result,
        errno=errno,
        sp=int(event.sp, 16),
    )


def _fragments(
    memory: Iterable[Fragment], strings: dict[str, Text] | None, args: list[int]
) -> tuple[list[Known], list[Known]]:
    """Return what is known of memory at entry and at return."""
    before: list[Known] = []
    after: list[Known] = []
    for fragment in memory:
        known = Known(int(fragment.address, 16), fragment.data)
        (after if fragment.returned else before).append(known)
    if strings:
        for position, string in strings.items():
            data = string.bytes if string.bytes is not None else string.text.encode("utf-8", "surrogatepass")
            # Whether the kernel filled it in is the decoder's knowledge: it looks at one of the two.
            known = Known(args[int(position)], data, not string.truncated)
            before.append(known)
            after.append(known)
    return before, after
