"""An engine: one session's attachment to one process, or a trace's part in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from utraced.model import Holder
from utraced.observing.selection import Selection
from utraced.observing.trace import Audience, Trace

if TYPE_CHECKING:
    from .process import Process

DEFAULT_EVENTS: Mapping[str, str] = {"exec": "report", "clone": "report", "exit": "report", "death": "report"}


class Owner(Audience, Protocol):
    """Who is told an engine's events: a session; ``holder`` tells who that is to others."""

    session: int

    @property
    def holder(self) -> Holder:
        """Its number, and its client."""
        ...

    def engine_id(self, engine: Engine) -> int:
        """Take a new engine, made by following, and return its id."""
        ...

    def retire(self, engine: Engine) -> None:
        """Note that ``engine`` has ended."""
        ...


class Engine:
    """An engine.

    ``events`` says of each kind of event whether it is reported or holds; ``thread_events`` the same for single
    threads.  ``entry`` and ``exit`` select the system calls told at these events.  ``registers``: whether events of
    stopped threads carry them.  ``id`` is 0 for a trace's engine, whose events carry the trace's id instead.
    """

    __slots__ = (
        "entry",
        "events",
        "exit",
        "follow",
        "hold",
        "hold_on_exec",
        "id",
        "owner",
        "process",
        "registers",
        "thread_events",
        "trace",
    )

    def __init__(  # noqa: PLR0913 - an engine's settings
        self,
        owner: Owner,
        process: Process,
        *,
        events: Mapping[str, str] = DEFAULT_EVENTS,
        registers: bool = False,
        hold: bool = False,
        hold_on_exec: bool = False,
        follow: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self.id = 0
        self.owner = owner
        self.process = process
        self.events = dict(events)
        self.thread_events: dict[int, dict[str, str]] = {}
        self.entry = Selection()
        self.exit = Selection()
        self.registers = registers
        self.hold = hold
        self.hold_on_exec = hold_on_exec
        self.follow = follow
        self.trace = trace

    def response(self, kind: str, tid: int) -> str | None:
        """Return ``"report"``, ``"hold"`` or None for an event of ``kind`` in thread ``tid``."""
        if self.thread_events:
            own = self.thread_events.get(tid)
            if own is not None:
                return own.get(kind)
        return self.events.get(kind)

    def wants(self, kind: str) -> bool:
        """Tell whether any thread's ``kind`` is wanted."""
        return kind in self.events or any(kind in events for events in self.thread_events.values())

    def wants_syscalls(self) -> bool:
        """Tell whether threads must stop at system calls for this engine."""
        if self.trace is not None:
            return self.trace.waiting or not (self.trace.filtered and self.process.bound)
        return (
            (self.entry.enabled and self.wants("syscall_entry"))
            or (self.exit.enabled and self.wants("syscall_exit"))
            or self.wants("library")
        )

    def child(self, process: Process) -> Engine:
        """Return the engine that follows into a new process: same session, events and filters."""
        child = Engine(
            self.owner,
            process,
            events=self.events,
            registers=self.registers,
            hold=self.hold,
            hold_on_exec=self.hold_on_exec,
            follow=True,
            trace=self.trace,
        )
        child.entry = self.entry.copy()
        child.exit = self.exit.copy()
        return child
