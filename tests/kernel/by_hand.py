"""A tracer whose rounds the test runs, with a session whose events the test reads: no loop, no socket."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, monotonic_ns
from typing import Any, TypeVar

from tests.kernel.targets import PATIENCE
from utraced.api import events
from utraced.api.events import AnyEvent
from utraced.configuration import Limits
from utraced.handlers.all import HANDLERS
from utraced.handlers.context import Context, WithDescriptors
from utraced.handlers.session import Session
from utraced.kernel.tracer import Tracer
from utraced.model import Peer
from utraced.rpc.encoding import JSON
from utraced.rpc.method import Method
from utraced.rpc.packet import Descriptors
from utraced.tracing.waiting import Waiter

Result = TypeVar("Result")
EMPTY_ROUNDS = 300


class Hand:
    """A tracer, a session, and their events so far."""

    def __init__(self, limits: Limits) -> None:
        self.completed: list[Waiter] = []
        self.tracer = Tracer(self.completed.append, most=limits.tracees)
        self.limits = limits
        self.session = self.another(1)
        self.seen: list[AnyEvent] = []

    def another(self, number: int) -> Session:
        """Return a further session of the same tracer."""
        return Session(number, Peer(pid=os.getpid(), uid=os.getuid(), gid=os.getgid()), self.tracer, self.limits)

    @property
    def core(self) -> Any:
        """The tracer's core."""
        return self.tracer.core

    # As a worker would

    async def over(self, waiter: Waiter, timeout: float) -> bool:  # noqa: ASYNC109 - the interface of Waits
        """Run rounds until the wait is over, or nothing more comes."""
        empty = 0
        while waiter.outstanding and empty < EMPTY_ROUNDS:
            if self.tracer.round():
                empty = 0
            else:
                empty += 1
                os.sched_yield()
        return not waiter.outstanding

    def start(self, method: Method[Result], *fds: int, session: Session | None = None) -> Any:
        """Start a request; return its result, or what has yet to be awaited for it."""
        session = session or self.session
        try:
            return HANDLERS[method.method](method, Context(session, self.tracer, Descriptors(fds), self))
        finally:
            self.tracer.perform()

    def call(self, method: Method[Result], *fds: int, session: Session | None = None) -> Result:
        """Carry out a request."""
        result = finish(self.start(method, *fds, session=session))
        self.tracer.perform()
        if isinstance(result, WithDescriptors):
            for fd in result.fds:
                os.close(fd)
            result = result.value
        found: Result = result
        return found

    def until(self, holds: Callable[[], object], what: str = "what the test waits for") -> None:
        """Run rounds until ``holds``."""
        deadline = monotonic() + PATIENCE
        while not holds():
            if not self.tracer.round():
                assert monotonic() < deadline, f"never came: {what}; seen: {self.kinds()}"
                os.sched_yield()

    # What was told

    def events(self, session: Session | None = None) -> list[AnyEvent]:
        """Return the session's new events, as its client would get them."""
        session = session or self.session
        session.flush()
        found: list[AnyEvent] = []
        while session.packets:
            packet = session.packets.popleft()
            found += decoded(packet.data)
            session.sent(packet)
        if session is self.session:
            self.seen += found
        return found

    def kinds(self) -> list[str]:
        """Return the kinds of all events of the first session so far."""
        self.events()
        return [type(event).__struct_config__.tag for event in self.seen]  # type: ignore[misc]

    def told(self, kind: type[events.Event]) -> list[Any]:
        """Return the first session's events of a kind so far."""
        self.events()
        return [event for event in self.seen if type(event) is kind]

    def wait_for(self, kind: type[events.Event]) -> Any:
        """Run rounds until there is an event of a kind; return the first."""
        self.until(lambda: self.told(kind), kind.__name__)
        return self.told(kind)[0]

    def ended(self, pid: int) -> None:
        """Run rounds until a process is traced no more."""
        self.until(lambda: not any(tracee.process.pid == pid for tracee in self.core.tracees.values()), f"end of {pid}")

    def close(self) -> None:
        """End the session; afterwards nothing is traced, and what would stay so (``Process.bound``) has ended."""
        self.session.close("session_closed", monotonic_ns())
        for process in self.core.processes.values():
            if process.bound:
                os.kill(process.pid, signal.SIGKILL)
        self.until(lambda: self.tracer.wait_over(set(self.core.tracees)), "all detached")
        self.tracer.close()


def finish(result: Any) -> Any:
    """Return what an awaitable of a handler returns, where nothing in it needs an event loop."""
    if not inspect.isawaitable(result):
        return result
    steps = result.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something else than threads")


def decoded(data: bytes) -> list[AnyEvent]:
    """Return the events of a packet."""
    messages = JSON.decode(data)
    return [
        JSON.decode(JSON.encode(message["params"]), AnyEvent)
        for message in (messages if isinstance(messages, list) else [messages])
    ]


@contextmanager
def by_hand(**limits: int) -> Iterator[Hand]:
    """Give a tracer whose rounds the test runs, with these limits; at the end it lets go of everything."""
    hand = Hand(Limits(**limits))
    try:
        yield hand
    finally:
        hand.close()
