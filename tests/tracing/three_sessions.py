"""Three sessions on one process of eight threads: what each has to be told, whatever the others do.

One is told all calls, one holds at signals, one stops and steps.  Every thread numbers its calls, by their first
argument, and its signals, by their value: what a session is told has to count on without a gap.
"""

from __future__ import annotations

from utraced.api import events

THREADS = 8
VALUE = slice(24, 32)
"""si_value in a siginfo_t of SI_QUEUE (sigaction(2))."""


class Calls:
    """What the session that traces calls is told: entry and return of each, in order."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.open: dict[int, bool] = {}
        self.count = 0

    def told(self, event: events.AnyEvent) -> None:
        assert isinstance(event, (events.SyscallEntry, events.SyscallExit)), event
        assert not event.held
        self.count += 1
        number, before = int(event.args[0], 16), self.last.get(event.tid)
        if isinstance(event, events.SyscallEntry):
            assert not self.open.get(event.tid), f"a return is missing before {event}"
            assert before is None or number == before + 1, f"after {before} came {number} in {event.tid}"
        else:
            assert self.open.get(event.tid), f"an entry is missing before {event}"
            assert number == before
        self.last[event.tid] = number
        self.open[event.tid] = isinstance(event, events.SyscallEntry)


class Signals:
    """What the session that holds at signals is told: each signal, held; ``held`` are the threads that wait for it."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.held: list[int] = []
        self.count = 0

    def told(self, event: events.AnyEvent) -> None:
        if isinstance(event, events.Resumed):
            return
        assert isinstance(event, events.Signal), event
        assert event.held, event
        assert event.info is not None
        self.count += 1
        number, before = int.from_bytes(event.info[VALUE], "little"), self.last.get(event.tid)
        assert before is None or number == before + 1, f"after {before} came {number} in {event.tid}"
        assert event.tid not in self.held
        self.last[event.tid] = number
        self.held.append(event.tid)


class Steps:
    """What the session that stops and steps is told: each stop and step it asked for, held, and nothing else.

    ``asked`` are the threads that were to stop or to step, ``held`` those that have done so.
    """

    def __init__(self) -> None:
        self.asked: dict[int, str] = {}
        self.held: list[int] = []
        self.count = 0

    def told(self, event: events.AnyEvent) -> None:
        if isinstance(event, events.Resumed):
            return
        assert isinstance(event, (events.Stop, events.Step)), event
        assert event.held, event
        self.count += 1
        wanted = self.asked.pop(event.tid, None)
        assert wanted == ("stop" if isinstance(event, events.Stop) else "step"), f"nobody asked for {event}"
        self.held.append(event.tid)
