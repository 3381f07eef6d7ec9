"""Classified stops: what the kernel said of one thread, with all the core needs to know of it.

The words are those of ptrace(2): a syscall-stop, a signal-delivery-stop, a group-stop, the PTRACE_EVENT stops.
"""

from __future__ import annotations

from utraced.model import Status
from utraced.observing.stop import Stop, SyscallStop


class SignalStop(Stop, gc=False):
    """A signal is about to be delivered; ``info`` is its raw siginfo_t."""

    signal: int
    info: bytes

    @property
    def code(self) -> int:
        """``si_code`` (sigaction(2))."""
        return int.from_bytes(self.info[8:12], "little", signed=True)


class GroupStop(Stop, gc=False):
    """The thread takes part in a group-stop caused by ``signal``."""

    signal: int


class EventStop(Stop, gc=False):
    """PTRACE_EVENT_STOP with SIGTRAP: interrupted by us, a new thread's first stop, or woken from a group-stop."""


class CloneStop(Stop, gc=False):
    """The thread made ``child``; ``is_thread`` whether that is in the same process; ``how`` as told to clients."""

    child: int
    how: str
    is_thread: bool


class VforkDoneStop(Stop, gc=False):
    """The vfork parent goes on; ``child`` has exec'd or ended."""

    child: int


class ExecStop(Stop, gc=False):
    """An execve succeeded; ``former_tid`` made it; ``path`` is the new program (empty where unknown)."""

    former_tid: int
    path: bytes


class ExitStop(Stop, gc=False):
    """PTRACE_EVENT_EXIT: about to end with ``status``."""

    status: Status


class Death(Stop, gc=False):
    """Not a stop but the end: waitpid told the thread's exit."""

    status: Status


AnyStop = SyscallStop | SignalStop | GroupStop | EventStop | CloneStop | VforkDoneStop | ExecStop | ExitStop | Death

__all__ = [
    "AnyStop",
    "CloneStop",
    "Death",
    "EventStop",
    "ExecStop",
    "ExitStop",
    "GroupStop",
    "SignalStop",
    "Stop",
    "SyscallStop",
    "VforkDoneStop",
]
