"""One system call on its way through a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .memory import NOTHING, Memory

if TYPE_CHECKING:
    from .abi import Abi


class Call:
    """A system call: made at entry, completed at return.

    ``args`` are the six raw registers (unsigned, as wide as the ABI's registers).  ``result`` is the signed raw return
    value, or None while the call runs; ``errno`` is 0, or the positive error number (the kernel's internal 512-530
    included).  ``limit`` is strace's ``-s``.  ``sp`` is the stack pointer at entry,
    where known.  ``entered`` and ``left`` are the target's memory at entry and at return.
    """

    __slots__ = ("abi", "args", "entered", "errno", "left", "limit", "nr", "result", "sp")

    def __init__(  # noqa: PLR0913 - the parts of a call
        self,
        abi: Abi,
        nr: int,
        args: tuple[int, ...],
        *,
        limit: int = 32,
        entered: Memory = NOTHING,
        left: Memory = NOTHING,
        result: int | None = None,
        errno: int = 0,
        sp: int = 0,
    ) -> None:
        self.abi = abi
        self.nr = nr
        self.args = args
        self.limit = limit
        self.entered = entered
        self.left = left
        self.result = result
        self.errno = errno
        self.sp = sp
