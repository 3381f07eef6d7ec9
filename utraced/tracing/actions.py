"""What the core wants done, as plain values; the kernel floor carries them out, in order.

Every action on a thread may find it gone (ESRCH): it is dying and will say so, and nothing else is to be done.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from utraced.api.events import Event

if TYPE_CHECKING:
    from utraced.observing.capture import Entry
    from utraced.observing.trace import Audience
    from utraced.syscalls.memory import Memory

    from .engine import Engine
    from .process import Process
    from .waiting import Waiter


class Wish(IntEnum):
    """How a thread is to go on.  Of several wishes the smallest prevails (utrace's rule)."""

    STEP = 1
    BLOCK_STEP = 2
    SYSCALL = 3
    RUN = 4


class Restart(Struct, frozen=True, gc=False):
    """Restart a stopped thread by ``wish``, delivering ``signal`` (0: none).

    ``calls``: it steps, and where the next instruction is a system call, it goes on to the call's stop instead.
    """

    tid: int
    wish: Wish
    signal: int = 0
    calls: bool = False


class Listen(Struct, frozen=True, gc=False):
    """Leave a thread in its group-stop, but hear of its end (PTRACE_LISTEN)."""

    tid: int


class Interrupt(Struct, frozen=True, gc=False):
    """Make a running or listening thread stop (PTRACE_INTERRUPT)."""

    tid: int


class SetOptions(Struct, frozen=True, gc=False):
    """Set a stopped thread's ptrace options.

    ``exits``: its PTRACE_EVENT_EXIT is wanted.  ``bound``: its filter's stops are, and that it ends with us.
    """

    tid: int
    exits: bool
    bound: bool = False


class SetSignal(Struct, frozen=True, gc=False):
    """Change the siginfo_t of the signal that a thread is stopped at."""

    tid: int
    info: bytes


class ChangeCall(Struct, frozen=True, gc=False):
    """Change the call that a thread, stopped at its entry, is to make by ``abi``: its number, and ``args`` but None."""

    tid: int
    abi: str
    nr: int
    args: tuple[int | None, ...] = ()


class AbortCall(Struct, frozen=True, gc=False):
    """Have a thread, stopped at the entry of a call, not make it; ``result`` is what it is to return."""

    tid: int
    abi: str
    result: int


class MakeCall(Struct, frozen=True, gc=False):
    """Have a thread next make a call by ``abi``, with the instruction of the call whose return address is ``pc``.

    It is stopped where a call returns, or before its next instruction.
    """

    tid: int
    abi: str
    nr: int
    pc: int
    args: tuple[int, ...]


class SetResult(Struct, frozen=True, gc=False):
    """Change what a call returns, of a thread stopped where it returns."""

    tid: int
    result: int


class Detach(Struct, frozen=True, gc=False):
    """Let go of a stopped thread for good, delivering ``signal``.

    ``stepping``: the trap of a step may wait behind its stop; then it is to be restarted, to stop for that first.
    """

    tid: int
    signal: int = 0
    stepping: bool = False


class Tell(Struct, frozen=True):
    """Tell a session an event."""

    owner: Audience
    event: Event


class Retire(Struct, frozen=True):
    """Tell an engine's owner that it has ended, after its last event."""

    engine: Engine


class Capture(Struct, frozen=True):
    """Put a stopped thread's registers into an event that is about to be told."""

    tid: int
    event: Event


class CaptureStack(Struct, frozen=True):
    """Put a stopped thread's stack into what a trace keeps of the call that it enters."""

    tid: int
    memory: Memory
    entry: Entry


class AwaitReap(Struct, frozen=True):
    """Watch for the end of a zombie, to be told by ``lifecycle.reaped``."""

    process: Process


class Complete(Struct, frozen=True):
    """Tell a waiting request that what it waits for has come."""

    waiter: Waiter


class Forget(Struct, frozen=True):
    """The process is no longer ours: close what we have open of it."""

    pid: int


Action = (
    Restart
    | Listen
    | Interrupt
    | SetOptions
    | SetSignal
    | ChangeCall
    | AbortCall
    | MakeCall
    | SetResult
    | Detach
    | Capture
    | CaptureStack
    | Tell
    | AwaitReap
    | Retire
    | Complete
    | Forget
)
