"""An async client of utraced, over anyio: it runs on asyncio and on trio.

    from utraced.api import engine, thread
    from utracectl.aio import connect

    async with connect() as client:
        attached = await client.call(engine.Attach(pid=4711, events=("signal",)))
        async for event in client.events():
            print(event)

Requests, answers and errors are those of ``utracectl.client``.

**Tasks.** Any number of tasks of one event loop may call at the same time; each gets its own answer.  Whoever waits
reads for all: there is no task in the background.  Each event goes to one iterator; a session needs but one.

**Time and cancellation.** There is no ``timeout``: use ``anyio.fail_after``.  A call that is cancelled while it waits
sends ``$/cancelRequest``; its answer, if one comes, is passed over.

**Memory.** Nothing is read unless somebody waits for an event or an answer, and never more than one packet before the
events of the last are taken.  Who takes no events leaves them to the daemon, which bounds them (``limits.max_queue``).
Only while a call waits are events taken in that nobody asked for: its answer may stand behind them, and the task that
calls may be the one that takes events.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import anyio
import anyio.to_thread

from utracectl.connect import Link, NotConnected, connect_socket, start_worker
from utracectl.dialogue import Asked, ConnectionEnded, Dialogue, TurnedAway, close_all, value_of
from utraced.api.events import AnyEvent
from utraced.rpc.message import Response
from utraced.rpc.method import Method
from utraced.rpc.packet import Descriptors

Result = TypeVar("Result")
CANCELLING = 1.0
"""Seconds for which a cancelled call tries to tell the daemon, where that takes in nothing."""


class Client:
    """One connection: one session of the daemon."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        worker: int | None = None,
        json: bool = False,
        again: Callable[[], Link] | None = None,
        instead: Callable[[], Link] | None = None,
    ) -> None:
        """Talk over a connected SOCK_SEQPACKET socket, which the client then owns.

        ``json``: packets are JSON; by default they are MessagePack.  ``again`` connects anew where the connection ends
        before anything was heard (``Dialogue.may_repeat``); ``instead`` starts a private worker, where the daemon does
        not serve this process as it is confined.  Each is called once, in a thread.
        """
        self._json = json
        self._again = again
        self._instead = instead
        self._connecting = anyio.Lock()
        self._closed = False
        self._line = self._line_of(Link(sock, worker))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def worker(self) -> int | None:
        """The pid of an embedded worker that was started for this connection, else None."""
        return self._line.dialogue.worker

    def close(self) -> None:
        """Hang up; the daemon undoes everything of this session.  Tasks that wait get ``ConnectionEnded``."""
        self._closed = True
        self._line.close()

    async def call(self, method: Method[Result], fds: Sequence[int] = ()) -> Result:
        """Ask and wait for the answer; ``fds`` go with the request and stay open here.

        Raises the error that the daemon answers (``utraced.errors``), ``ConnectionEnded``, and ``OSError`` where
        ``fds`` cannot be sent.  Descriptors that come with the answer are closed: where there are any, use
        ``call_with_descriptors``.
        """
        result, descriptors = await self.call_with_descriptors(method, fds)
        close_all(descriptors)
        return result

    async def call_with_descriptors(
        self, method: Method[Result], fds: Sequence[int] = ()
    ) -> tuple[Result, Descriptors]:
        """Ask as ``call`` does; the descriptors of the answer are taken by the indices in it, and closed, by you."""
        response = await self._answer(lambda dialogue: dialogue.ask(method, fds))
        return cast(Result, value_of(response)), response.descriptors

    async def call_raw(self, method: str, params: Mapping[str, Any] | None = None, fds: Sequence[int] = ()) -> Any:
        """Ask by the method's name, with parameters as they stand on the wire; the result likewise."""
        response = await self._answer(lambda dialogue: dialogue.ask_raw(method, params, fds))
        result = value_of(response)
        close_all(response.descriptors)
        return result

    def events(self) -> Events:
        """Return an iterator of the session's events, until the connection ends, which raises ``ConnectionEnded``.

        What a loop that is left early has not taken is there for the next.
        """
        return Events(self)

    async def next_event(self) -> AnyEvent:
        """Wait for the next event; raises ``ConnectionEnded`` after the last."""
        while True:
            line = self._line
            await line.until(lambda line=line: bool(line.dialogue.events))  # type: ignore[misc]
            event = line.dialogue.next_event()
            if event is not None:
                return event
            if line.dialogue.ended is not None and not await self._connected_again(line):
                raise line.dialogue.end()

    async def _answer(self, ask: Callable[[Dialogue], Asked]) -> Response:
        """Ask and wait; where the connection ends before anything was heard, connect again and ask again, once."""
        line = self._line
        asked = ask(line.dialogue)
        try:
            return await line.exchange(asked)
        except ConnectionEnded:
            if not await self._connected_again(line, asked):
                raise
        return await self._line.exchange(ask(self._line.dialogue))

    async def _connected_again(self, line: _Line, asked: Asked | None = None) -> bool:
        """Connect again in place of ``line``, unless another task has; return whether it is of use to ``asked``."""
        if not line.dialogue.may_repeat(asked):
            return False
        async with self._connecting:
            if self._line is line and not self._closed:
                if isinstance(line.dialogue.ended, TurnedAway):
                    again, self._instead = self._instead, None
                else:
                    again, self._again = self._again, None
                if again is not None:
                    link = await anyio.to_thread.run_sync(again)
                    line.close()
                    self._line = self._line_of(link)
                    if self._closed:
                        self._line.close()
        return self._line is not line

    def _line_of(self, link: Link) -> _Line:
        replaceable = self._instead is not None
        return _Line(Dialogue(link.socket, json=self._json, worker=link.worker, replaceable=replaceable))


class Events:
    """The events of a session, one by one."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyEvent:
        return await self._client.next_event()


class _Line:
    """A connection on which tasks wait: one of them reads, and the others follow, each until its turn is over."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self._sending = anyio.Lock(fast_acquire=True)
        self._reading = False
        self._followers: dict[anyio.Event, Callable[[], bool]] = {}

    async def exchange(self, asked: Asked) -> Response:
        """Send a request and return the response to it."""
        dialogue = self.dialogue
        try:
            await self._send(asked)
            await self.until(lambda: dialogue.heard(asked.number))
        except BaseException:
            cancel = dialogue.give_up(asked)
            if cancel is not None:
                with anyio.move_on_after(CANCELLING, shield=True):
                    await self._send(cancel)
            raise
        return dialogue.answer(asked.number)

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until ``done``, or the end."""
        try:
            while not done() and self.dialogue.ended is None:
                if self._reading:
                    await self._follow(done)
                else:
                    await self._read(done)
        finally:
            if not self._reading:
                # Who leads no longer, or was to lead and is cancelled, hands that on.
                for turn in self._followers:
                    turn.set()
                    break

    def close(self) -> None:
        """Hang up."""
        anyio.notify_closing(self.dialogue.socket)
        self.dialogue.close()
        self._wake()

    async def _send(self, asked: Asked) -> None:
        """Send a request, and take in what comes while the daemon takes nothing."""
        async with self._sending:
            while self.dialogue.ended is None and not self.dialogue.send(asked):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self.until, lambda: False)
                    with suppress(anyio.ClosedResourceError):
                        await anyio.wait_writable(self.dialogue.socket)
                    tasks.cancel_scope.cancel()

    async def _follow(self, done: Callable[[], bool]) -> None:
        turn = anyio.Event()
        self._followers[turn] = done
        try:
            await turn.wait()
        finally:
            del self._followers[turn]

    async def _read(self, done: Callable[[], bool]) -> None:
        self._reading = True
        try:
            while not done() and self.dialogue.ended is None:
                with suppress(anyio.ClosedResourceError):
                    await anyio.wait_readable(self.dialogue.socket)
                if self.dialogue.receive():
                    self._wake()
        finally:
            self._reading = False

    def _wake(self) -> None:
        """Wake those whose turn is over."""
        for turn, done in self._followers.items():
            if done() or self.dialogue.ended is not None:
                turn.set()


@asynccontextmanager
async def connect(*, json: bool = False, host: str | None = None) -> AsyncIterator[Client]:
    """Connect to the daemon, or to an embedded worker where there is none; hang up at the end.

    ``json``: as in ``Client``; ``host``: as in ``utracectl.client.connect``.  Raises ``NotConnected``.

        async with connect() as client:
            print((await client.call(daemon.Hello())).version)
    """
    link = await anyio.to_thread.run_sync(partial(connect_socket, host=host))
    again = connect_socket if link.worker is None and host is None else None
    instead = start_worker if link.usual else None
    async with Client(link.socket, worker=link.worker, json=json or link.json, again=again, instead=instead) as client:
        yield client


__all__ = ["Client", "ConnectionEnded", "Events", "NotConnected", "connect"]
