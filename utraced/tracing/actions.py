"""What the core wants done, as plain values; the kernel floor carries them out, in order.

Every action on a thread may find it gone (ESRCH): it is dying and will say so, and nothing else is to be done.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from utraced.api.events import Event

if TYPE_CHECKING:
    from .engine import Engine, Owner
    from .waiting import Waiter


class Wish(IntEnum):
    """How a thread is to go on.  Of several wishes the smallest prevails (utrace's rule)."""

    STEP = 1
    BLOCK_STEP = 2
    SYSCALL = 3
    RUN = 4


class Restart(Struct, frozen=True, gc=False):
    """Restart a stopped thread by ``wish``, delivering ``signal`` (0: none)."""

    tid: int
    wish: Wish
    signal: int = 0


class Listen(Struct, frozen=True, gc=False):
    """Leave a thread in its group-stop, but hear of its end (PTRACE_LISTEN)."""

    tid: int


class Interrupt(Struct, frozen=True, gc=False):
    """Make a running or listening thread stop (PTRACE_INTERRUPT)."""

    tid: int


class SetOptions(Struct, frozen=True, gc=False):
    """Set a stopped thread's ptrace options: ``exits`` whether its PTRACE_EVENT_EXIT is wanted."""

    tid: int
    exits: bool


class Detach(Struct, frozen=True, gc=False):
    """Let go of a stopped thread for good, delivering ``signal``."""

    tid: int
    signal: int = 0


class Tell(Struct, frozen=True):
    """Tell a session an event."""

    owner: Owner
    event: Event


class Retire(Struct, frozen=True):
    """Tell an engine's owner that it has ended, after its last event."""

    engine: Engine


class Complete(Struct, frozen=True):
    """Tell a waiting request that what it waits for has come."""

    waiter: Waiter


class Forget(Struct, frozen=True):
    """The process is no longer ours: close what we have open of it."""

    pid: int


Action = Restart | Listen | Interrupt | SetOptions | Detach | Tell | Retire | Complete | Forget
