"""The stack of a thread by its frame pointers, as the kernel follows them (arch/x86/events/core.c)."""

from __future__ import annotations

import struct

from utraced.syscalls.memory import Memory

MOST_FRAMES = 127
"""PERF_MAX_STACK_DEPTH; kernel.perf_event_max_stack may be less."""
_FRAMES = {8: struct.Struct("<QQ"), 4: struct.Struct("<II")}
"""The caller's frame, and where to go on in it."""


def walk(memory: Memory, pc: int, frame: int, *, width: int) -> tuple[int, ...]:
    """Return ``pc`` and the addresses that its functions return to, the innermost first.

    ``frame`` is the frame pointer, ``width`` the bytes of an address.  A function without a frame hides its caller.
    """
    layout = _FRAMES[width]
    found = [pc]
    while len(found) < MOST_FRAMES:
        data = memory.read(frame, layout.size)
        if len(data) < layout.size:
            break
        frame, address = layout.unpack(data)
        if not address:  # above the first function of a thread
            break
        found.append(address)
    return tuple(found)
