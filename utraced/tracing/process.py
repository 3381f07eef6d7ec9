"""Tracees (one thread each) and processes (thread groups), as the core sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from utraced.model import Status
from utraced.syscalls.memory import Memory

from .actions import Wish

if TYPE_CHECKING:
    from utraced.observing.capture import Entry
    from utraced.observing.trace import Trace

    from .changes import Outcome
    from .engine import Engine
    from .filtering import Installation
    from .libraries import Library
    from .stops import AnyStop, SyscallStop


Why = Literal["requested", "attached", "exec"]
"""Why a thread is held, as ``stop`` events tell it."""


class Target(Memory, Protocol):
    """What the core is given of a process: its memory, and when it started."""

    def write(self, address: int, data: bytes) -> bool:
        """Write into the memory; return whether all of ``data`` was."""
        ...

    def renew(self) -> None:
        """Forget the memory's old image: an exec has replaced it."""
        ...

    def start_time(self) -> int:
        """Return field 22 of /proc/PID/stat, in clock ticks, or 0 where the process is gone."""
        ...

    def file_at(self, address: int) -> tuple[bytes, int] | None:
        """Return the path of the file that is mapped at ``address``, and where its beginning is; None where none is."""
        ...


class Tracee:
    """One traced thread.

    ``stop`` is the ptrace-stop it is in, None while it runs or listens; ``fresh`` until its first stop.
    ``holders`` are the engines that hold it, ``wishes`` how others want it to go on, where not simply to run; those in
    ``announce`` get a ``stop`` event when it is held, with the reason given there, and others are told by a reply.
    ``awaiting`` are the engines that let it go while others held it: they are told when it runs.
    ``request`` is how it was last restarted, ``exits`` whether its PTRACE_EVENT_EXIT is enabled.
    ``doomed``: it is being killed, and can be held no more.
    ``stepping``: the trap of a step may still be told, though it was last restarted for something else.
    ``signal`` is what will be delivered when the signal-delivery-stop ends.
    ``entry`` is the call it is in, ``entries`` what each trace has kept of it, ``outcome`` the result chosen for it,
    ``unmapping`` the library that it takes away.  ``installation`` is the filter that it is being given.
    """

    __slots__ = (
        "announce",
        "awaiting",
        "doomed",
        "entries",
        "entry",
        "exits",
        "fresh",
        "group_stopped",
        "holders",
        "installation",
        "interrupting",
        "leaving",
        "listening",
        "outcome",
        "process",
        "request",
        "signal",
        "stepping",
        "stop",
        "tid",
        "unmapping",
        "wishes",
    )

    def __init__(self, tid: int, process: Process, *, fresh: bool = True) -> None:
        self.tid = tid
        self.process = process
        self.stop: AnyStop | None = None
        self.fresh = fresh
        self.listening = False
        self.group_stopped = False
        self.interrupting = False
        self.leaving = False
        self.doomed = False
        self.stepping = False
        self.exits = False
        self.request = Wish.RUN
        self.signal = 0
        self.holders: list[Engine] = []
        self.wishes: dict[Engine, Wish] = {}
        self.announce: dict[Engine, Why] = {}
        self.awaiting: list[Engine] = []
        self.entry: SyscallStop | None = None
        self.entries: dict[Trace, Entry] = {}
        self.outcome: Outcome | None = None
        self.unmapping: Library | None = None
        self.installation: Installation | None = None

    @property
    def stopped(self) -> bool:
        """Whether it is in a ptrace-stop that can be restarted."""
        return self.stop is not None

    def holds(self, engine: Engine) -> None:
        """Note that ``engine`` holds it from now; how that one wanted it to go on is over."""
        self.forget(engine)
        if engine not in self.holders:
            self.holders.append(engine)

    def forget(self, engine: Engine) -> None:
        """Forget how ``engine`` wants it to go on, and what it is still to be told of it."""
        self.wishes.pop(engine, None)
        self.announce.pop(engine, None)
        if engine in self.awaiting:
            self.awaiting.remove(engine)


class Process:
    """A traced thread group.

    ``engines`` stand in attach order.  ``request`` and ``exits`` are what its threads are to be restarted with, and
    ``libraries`` whether they are watched for those, as its engines' wants say (see ``refresh``).  ``filters`` counts
    those of ours that it has (see ``filtering``).  ``killed_ns``: when a thread of it was killed last, by an exec or
    else.  ``status`` is how it ended.
    """

    __slots__ = (
        "engines",
        "exits",
        "filters",
        "killed_ns",
        "libraries",
        "pid",
        "request",
        "status",
        "target",
        "tracees",
    )

    def __init__(self, pid: int, target: Target) -> None:
        self.pid = pid
        self.target = target
        self.tracees: dict[int, Tracee] = {}
        self.engines: list[Engine] = []
        self.request = Wish.RUN
        self.exits = False
        self.libraries = False
        self.filters = 0
        self.killed_ns = -(1 << 62)
        self.status: Status | None = None

    @property
    def bound(self) -> bool:
        """Whether it has a filter of ours, whose calls fail without a tracer: it stays traced, and ends with us."""
        return self.filters > 0

    def refresh(self) -> None:
        """Work out anew what the threads must be restarted with."""
        self.request = Wish.SYSCALL if any(engine.wants_syscalls() for engine in self.engines) else Wish.RUN
        self.exits = any(engine.trace is None and engine.wants("exit") for engine in self.engines)
        self.libraries = any(engine.trace is None and engine.wants("library") for engine in self.engines)
