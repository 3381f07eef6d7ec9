"""``struct rusage``: what a process has used (getrusage(2))."""

from __future__ import annotations

from utraced.syscalls.basics import Struct
from utraced.syscalls.call import Call

from .timespec import TIMEVAL, time_size


class Rusage(Struct):
    """The two times of ``struct rusage``; strace leaves out the rest.

    ``needs_result``: not filled in where the call returned zero, as wait4 without a child to tell of.
    """

    __slots__ = ("needs_result",)

    def __init__(self, *, needs_result: bool = False) -> None:
        super().__init__(out=True)
        self.needs_result = needs_result

    def size(self, call: Call) -> int:
        """See ``Struct.size``."""
        return 2 * time_size(call) + 14 * call.abi.word

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        size = time_size(call)
        user, system = TIMEVAL.text(data[:size], call), TIMEVAL.text(data[size : 2 * size], call)
        return f"{{ru_utime={user}, ru_stime={system}, ...}}"

    def render(self, value: int, call: Call) -> str:
        """See ``Kind.render``."""
        if value and self.needs_result and not call.result:
            return hex(value)
        return super().render(value, call)
