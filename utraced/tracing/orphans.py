"""Threads that are traced already, of which their parent has not told yet."""

from __future__ import annotations

from typing import NamedTuple

from .stops import AnyStop, CloneStop, Death

REMEMBERED = 4096
"""Threads that ended before they were told of."""
RECENT_NS = 1_000_000_000
"""Within which a word about a thread and its end belong together."""


class Origin(NamedTuple):
    """Where an unknown thread came from, as /proc says: its process, and that process's parent.

    ``filtered``: it has a seccomp filter, which may be ours.
    """

    tgid: int
    ppid: int
    filtered: bool = False


class Orphans:
    """Threads that were born traced but whose parent has not told yet, and those that ended before it did.

    The kernel attaches a new thread by itself (PTRACE_O_TRACECLONE and its kin).  Its first stop and its parent's
    event come in either order, and a parent that is killed in between never tells.
    """

    __slots__ = ("departed", "origins", "stops")

    def __init__(self) -> None:
        self.stops: dict[int, AnyStop] = {}
        self.origins: dict[int, Origin] = {}
        self.departed: dict[int, tuple[int, Death | None]] = {}

    def depart(self, tid: int, time_ns: int, death: Death | None) -> None:
        """Note that an unknown thread has died, or was let go (``death`` is None); the oldest of many are forgotten."""
        self.stops.pop(tid, None)
        self.origins.pop(tid, None)
        while len(self.departed) >= REMEMBERED:
            del self.departed[next(iter(self.departed))]
        self.departed[tid] = time_ns, death

    def end_of(self, stop: CloneStop) -> Death | CloneStop | None:
        """Return the death of the child that ``stop`` tells of, None where it was let go, and ``stop`` where it lives.

        A parent stops to tell right after the child was made: an end long before was that of another of the same tid.
        """
        time_ns, death = self.departed.pop(stop.child, (0, None))
        return death if time_ns and stop.time_ns - time_ns < RECENT_NS else stop

    def of(self, pid: int) -> list[int]:
        """Return the stopped orphans that lead a process whose parent is ``pid``."""
        return [tid for tid, origin in self.origins.items() if origin.tgid == tid and origin.ppid == pid]
