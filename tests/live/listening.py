"""Programs that do what they are told, and what a client hears of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TypeVar

from tests.live.machine import running
from utracectl.client import Client
from utraced.api.events import AnyEvent, Event

Kind = TypeVar("Kind", bound=Event)
SILENCE = 0.02
"""Seconds in which nothing more is to come; that it comes later would be seen by the next test of ``seq``."""


class Listener:
    """The events of a client, in order; ``seen`` are all so far."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: list[AnyEvent] = []
        self._next = 0

    def hear(self, kind: type[Kind], **members: object) -> Kind:
        """Return the next event of a kind whose members are as given; passes over others before it."""
        while True:
            while self._next < len(self.seen):
                event = self.seen[self._next]
                self._next += 1
                if isinstance(event, kind) and all(getattr(event, name) == value for name, value in members.items()):
                    return event
            self._take(30)

    def next(self) -> AnyEvent:
        """Return the very next event."""
        while self._next >= len(self.seen):
            self._take(30)
        self._next += 1
        return self.seen[self._next - 1]

    def quiet(self) -> bool:
        """Tell whether nothing more has come."""
        self.seen += self.client.poll(SILENCE)
        return self._next == len(self.seen)

    def kinds(self) -> list[str]:
        """Return the kinds of all events so far."""
        return [type(event).__name__ for event in self.seen]

    def _take(self, timeout: float) -> None:
        found = self.client.poll(timeout)
        assert found, f"nothing more came after {self.seen[-5:]}"
        self.seen += found
        numbers = [event.seq for event in self.seen]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        times: dict[int, int] = {}
        for event in self.seen:
            assert event.time_ns >= times.get(event.tid, 0), f"out of order: {event}"
            times[event.tid] = event.time_ns


class Told:
    """A running told.c."""

    def __init__(self, process: Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def go(self) -> None:
        """Have it do the next thing."""
        assert self.process.stdin is not None
        self.process.stdin.write(b".")
        self.process.stdin.flush()

    def says(self) -> str:
        """Return the next line that it writes, "" at the end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def end(self) -> int:
        """Have it come to its end, and return its status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)


@contextmanager
def told(program: Path, *words: str) -> Iterator[Told]:
    """Give a program that will do ``words``, one by one."""
    with running([program, *words], stdin=PIPE) as process:
        yield Told(process)
