"""What a trace keeps of a call between its entry and its return: what was read then, and the events made of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from utraced.api import events
from utraced.model import exact_bytes, text_of
from utraced.syscalls.abi import Abi
from utraced.syscalls.call import Call
from utraced.syscalls.memory import Memory, Recording, Snapshot
from utraced.syscalls.signature import Signature

from .stop import SyscallStop

log = logging.getLogger("utraced")

Args = tuple[str, str, str, str, str, str]


class Plan(NamedTuple):
    """What a call of one number is: worked out once per trace.  ``reads``: its arguments or result lead to memory."""

    abi: Abi
    name: str
    signature: Signature
    reads: bool


def plan(abi: Abi, nr: int) -> Plan:
    """Return the plan of call ``nr``."""
    signature = abi.signature(nr)
    reads = signature.choose is not None or bool(signature.reads_entry) or signature.returns.reads
    return Plan(abi, abi.name_of(nr), signature, reads)


class Entry:
    """A call that a trace saw entered."""

    __slots__ = ("call", "left", "plan", "recording", "signature", "stack", "stop")

    def __init__(self, stop: SyscallStop, plan: Plan) -> None:
        self.stop = stop
        self.plan = plan
        self.stack: tuple[int, ...] | None = None

    def read_entry(self, memory: Memory, limit: int) -> None:
        """Read what the arguments point to at entry; ``limit`` is the number of bytes kept of a string."""
        stop = self.stop
        self.signature = self.plan.signature
        self.left: Recording | None = None
        self.recording = recording = Recording(memory)
        self.call = call = Call(self.plan.abi, stop.nr, stop.args, limit=limit, entered=recording, sp=stop.sp)

        def read() -> None:
            self.signature = self.plan.signature.of(call)
            for index, kind in self.signature.reads_entry:
                kind.read_entry(call.args[index], call)

        self._guarded(read)

    def read_return(self, memory: Memory, stop: SyscallStop) -> None:
        """Read what they point to when the call has returned."""
        call = self.call
        call.result = stop.result
        call.errno = -stop.result if stop.failed else 0
        call.left = self.left = Recording(memory)
        if self.signature.reads_return:
            # What stood there at the entry is known by now, and may be something else.
            call.entered = Snapshot(self.recording.fragments)

        def read() -> None:
            for index, kind in self.signature.reads_return:
                kind.read_return(call.args[index], call)
            if not stop.failed:
                self.signature.returns.read_return(call)

        self._guarded(read)

    def _guarded(self, read: Callable[[], None]) -> None:
        """Let a mistake in a decoder cost what it would have read, not the tracer: memory may hold anything."""
        try:
            read()
        except Exception:
            log.exception("the decoder of %s failed; the call is told without what it points to", self.plan.name)

    def contents(self) -> tuple[dict[str, events.Text] | None, list[events.Fragment] | None]:
        """Sort what was read into strings, by argument, and other memory."""
        if not self.plan.reads:
            return None, None
        call = self.call
        strings: dict[str, events.Text] = {}
        memory: list[events.Fragment] = []
        places = {call.args[index]: (index, kind) for index, kind in self.signature.reads_entry if kind.string}
        left = self.left.fragments if self.left is not None else ()
        for fragments, returned in ((self.recording.fragments, False), (left, True)):
            for address, data, ended in fragments:
                place = places.pop(address, None)
                if place is None:
                    memory.append(events.Fragment(f"{address:#x}", data + b"\0" if ended else data, returned))
                    continue
                index, kind = place
                extent = kind.extent(call)
                text = text_of(data)
                truncated = not ended if extent is None else len(data) < extent
                strings[str(index)] = events.Text(text, exact_bytes(data, text), truncated)
        return strings or None, memory or None


def stack_text(stack: tuple[int, ...] | None) -> tuple[str, ...] | None:
    """Return a stack as the protocol writes it."""
    return None if stack is None else tuple(map(hex, stack))


def args_text(args: tuple[int, ...]) -> Args:
    """Return six registers as the protocol writes them."""
    a, b, c, d, e, f = map(hex, args)
    return a, b, c, d, e, f
