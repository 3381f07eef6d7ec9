"""A blocking client of utraced.

Connecting is all there is to set up, closing undoes everything that was asked for:

    from utraced.api import process, trace
    from utracectl.client import connect

    with connect() as client:
        for entry in client.call(process.List()).processes:
            print(entry.pid, entry.command)
        started = client.call(trace.Start(pid=4711))
        for event in client.events():
            print(event)

Requests are the classes of ``utraced.api``, their answers those classes' results, and errors are raised as the classes
of ``utraced.errors``.

**Threads.** A client is used by one thread at a time, and says so with ``RuntimeError``; give each thread its own.
``close`` alone may be called by any: who waits then gets ``ConnectionEnded``.

**Memory.** Nothing is read but by ``call``, ``poll`` and ``events``: who takes no events leaves them to the daemon,
which bounds them (``limits.max_queue``).  Only while a call waits are events taken in that nobody asked for, since its
answer may stand behind them.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from msgspec import Raw

from utracectl.connect import Link, NotConnected, connect_socket, open_socket, start_worker
from utracectl.dialogue import CLOSED, MAX_PACKET, Asked, ConnectionEnded, Dialogue, TurnedAway, close_all, value_of
from utraced.api.events import AnyEvent
from utraced.errors import PermissionDenied, TimedOut
from utraced.rpc.message import Response
from utraced.rpc.method import Method
from utraced.rpc.packet import Descriptors

Result = TypeVar("Result")
MOST_PACKETS = 64
"""Taken in at once: the events of so many are a few milliseconds' work."""


class Client:
    """One connection: one session of the daemon.

    ``worker`` is the pid of an embedded worker that was started for this connection, else None.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        sock: socket.socket,
        *,
        worker: int | None = None,
        json: bool = False,
        again: Callable[[], Link] | None = None,
        instead: Callable[[], Link] | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        """Talk over a connected SOCK_SEQPACKET socket, which the client then owns.

        ``json``: packets are JSON, which notifications then pass on as it came; by default they are MessagePack.
        ``again`` connects anew where the connection ends before anything was heard (``Dialogue.may_repeat``); once.
        ``instead`` starts a private worker, where the daemon does not serve this process as it is confined.
        ``notice`` is told that; with it, what another user's worker traces is traced by that one, where its socket lets
        us in and nothing has been done here yet.
        """
        self._json = json
        self._again = again
        self._instead = instead
        self._notice = notice
        self._lock = threading.Lock()
        self._closed = False
        self._start(Link(sock, worker))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def worker(self) -> int | None:
        """The pid of an embedded worker that was started for this connection, else None."""
        return self._dialogue.worker

    def close(self) -> None:
        """Hang up; the daemon undoes everything of this session.  Any thread may do so, and more than once."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            self._dialogue.close()
            self._lock.release()
        else:
            # The thread that waits wakes up by this, and closes: a number closed under poll(2) might be taken anew.
            self._dialogue.ended = self._dialogue.ended or ConnectionEnded(CLOSED)
            with suppress(OSError):
                self._dialogue.socket.shutdown(socket.SHUT_RDWR)

    def fileno(self) -> int:
        """Return the socket's descriptor: when it is readable, ``poll(0)`` has something.

        It stays the same from the first answer on.
        """
        return self._dialogue.socket.fileno()

    def call(self, method: Method[Result], fds: Sequence[int] = (), *, timeout: float | None = None) -> Result:
        """Ask and wait for the answer; ``fds`` go with the request and stay open here.

        ``timeout`` is in seconds; after it the request is cancelled, its answer, if one comes, passed over, and
        ``TimedOut`` raised.  Raises the error that the daemon answers (``utraced.errors``), ``ConnectionEnded``, and
        ``OSError`` where ``fds`` cannot be sent.  Descriptors that come with the answer are closed: where there are
        any, use ``call_with_descriptors``.
        """
        result, descriptors = self.call_with_descriptors(method, fds, timeout=timeout)
        close_all(descriptors)
        return result

    def call_with_descriptors(
        self, method: Method[Result], fds: Sequence[int] = (), *, timeout: float | None = None
    ) -> tuple[Result, Descriptors]:
        """Ask as ``call`` does; the descriptors of the answer are taken by the indices in it, and closed, by you."""
        response = self._answer(lambda dialogue: dialogue.ask(method, fds), timeout)
        return cast(Result, value_of(response)), response.descriptors

    def call_raw(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        fds: Sequence[int] = (),
        *,
        timeout: float | None = None,
    ) -> Any:
        """Ask by the method's name, with parameters as they stand on the wire; the result likewise."""
        result, descriptors = self.call_raw_with_descriptors(method, params, fds, timeout=timeout)
        close_all(descriptors)
        return result

    def call_raw_with_descriptors(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        fds: Sequence[int] = (),
        *,
        timeout: float | None = None,
    ) -> tuple[Any, Descriptors]:
        """Ask as ``call_raw`` does; the descriptors of the answer are as those of ``call_with_descriptors``."""
        response = self._answer(lambda dialogue: dialogue.ask_raw(method, params, fds), timeout)
        return value_of(response), response.descriptors

    def events(self) -> Iterator[AnyEvent]:
        """Wait for events and yield each, until the connection ends, which raises ``ConnectionEnded``.

        What a loop that is left early has not taken is there for the next.
        """
        while True:
            event = self._dialogue.next_event()
            if event is None:
                self._fill(None)
            else:
                yield event

    def poll(self, timeout: float | None = None) -> list[AnyEvent]:
        """Return the events that have come; wait up to ``timeout`` seconds (None: for ever) where there is none yet."""
        return [event for raw in self.raw_events(timeout) if (event := self.decode(raw)) is not None]

    def raw_events(self, timeout: float | None = None) -> list[Raw]:
        """Return what ``poll`` decodes, as it came: ``params`` of the events, in the connection's encoding."""
        self._fill(timeout)
        events = self._dialogue.events
        found = list(events)
        events.clear()
        return found

    def decode(self, raw: Raw) -> AnyEvent | None:
        """Return the event, or None for one that only a newer daemon's clients know."""
        return self._dialogue.decode(raw)

    def _start(self, link: Link) -> None:
        """Use a new connection."""
        replaceable = self._instead is not None
        self._dialogue = Dialogue(link.socket, json=self._json, worker=link.worker, replaceable=replaceable)
        self._readable, self._both = select.poll(), select.poll()
        self._readable.register(link.socket, select.POLLIN)
        self._both.register(link.socket, select.POLLIN | select.POLLOUT)

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Keep other threads out meanwhile."""
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("another thread is using this client: give each thread one of its own")
        try:
            yield
        finally:
            self._lock.release()
            if self._closed:
                self.close()

    def _answer(self, ask: Callable[[Dialogue], Asked], timeout: float | None) -> Response:
        """Ask and wait; where the answer is to be had over another connection, ask there again, once."""
        deadline = None if timeout is None else monotonic() + timeout
        with self._used():
            asked = ask(self._dialogue)
            try:
                response = self._exchange(asked, deadline)
                link = self._elsewhere(response)
                if link is None:
                    return response
            except ConnectionEnded as ended:
                if self._closed or not self._dialogue.may_repeat(asked):
                    raise
                link = self._anew(ended)
                if link is None:
                    raise
            self._dialogue.close()
            self._start(link)
            if self._closed:
                raise ConnectionEnded(CLOSED)
            return self._exchange(ask(self._dialogue), deadline)

    def _anew(self, ended: ConnectionEnded) -> Link | None:
        """Return a connection in place of one that was no use, None where there is none to be had any more."""
        if isinstance(ended, TurnedAway):
            connect_anew, self._instead = self._instead, None
            if connect_anew is not None and self._notice is not None:
                self._notice(f"{ended}: going on with a private worker")
        else:
            connect_anew, self._again = self._again, None
        return None if connect_anew is None else connect_anew()

    def _elsewhere(self, response: Response) -> Link | None:
        """Return a connection to the worker that traces what was asked for, where we may and have nothing to lose."""
        error = response.error
        if self._notice is None or self._dialogue.changed or not isinstance(error, PermissionDenied):
            return None
        tracer = error.data.get("tracer")
        path = tracer.get("socket") if error.reason == "traced_by_other" and isinstance(tracer, dict) else None
        if not isinstance(path, str):
            return None
        try:
            link = Link(open_socket(path))
        except NotConnected:
            return None
        self._notice(f"{error.message}: going on at {path}")
        return link

    def _exchange(self, asked: Asked, deadline: float | None) -> Response:
        """Send a request and return the response to it."""
        dialogue = self._dialogue
        try:
            self._send(asked, deadline)
            while not dialogue.heard(asked.number):
                self._wait(self._readable, deadline)
                dialogue.receive()
        except BaseException:
            cancel = dialogue.give_up(asked)
            if cancel is not None:
                dialogue.send(cancel)
            raise
        return dialogue.answer(asked.number)

    def _send(self, asked: Asked, deadline: float | None) -> None:
        """Send a request, and take in what comes while the daemon takes nothing."""
        while not self._dialogue.send(asked):
            if self._wait(self._both, deadline) & select.POLLIN:
                self._dialogue.receive()

    def _wait(self, poll: select.poll, deadline: float | None) -> int:
        """Return what the socket is ready for; raises ``TimedOut`` at ``deadline``."""
        timeout = None if deadline is None else max(0.0, deadline - monotonic()) * 1000
        ready = poll.poll(timeout)
        if not ready:
            raise TimedOut("no answer came in time", hint="Ask again with a longer timeout.")
        return ready[0][1]

    def _fill(self, timeout: float | None) -> None:
        """Take in packets until there are events, at the longest for ``timeout`` seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        dialogue = self._dialogue
        with self._used(), suppress(TimedOut):
            while True:
                # What is there already, but not so much that the first would wait for long.
                for _ in range(MOST_PACKETS):
                    if dialogue.ended is not None or not dialogue.receive():
                        break
                if dialogue.events:
                    return
                if dialogue.ended is not None:
                    raise dialogue.end()
                self._wait(self._readable, deadline)


def connect(*, json: bool = False, host: str | None = None, notice: Callable[[str], None] | None = None) -> Client:
    """Connect to the daemon, or to an embedded worker where there is none; to those of ``host``, by ssh, if given.

    ``json``, ``notice``: as in ``Client``.  Raises ``NotConnected``.

        with connect() as client:
            print(client.call(daemon.Hello()).version)
    """
    again = connect_socket if host is None else None
    return client_of(connect_socket(host=host), json=json, again=again, notice=notice)


def client_of(
    link: Link,
    *,
    json: bool = False,
    again: Callable[[], Link] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Client:
    """Return a client over a socket that is connected already; ``again`` as in ``Client``, where a daemon is meant."""
    return Client(
        link.socket,
        worker=link.worker,
        json=json or link.json,
        again=again if link.worker is None else None,
        instead=start_worker if link.usual else None,
        notice=notice,
    )


__all__ = ["MAX_PACKET", "Client", "ConnectionEnded", "NotConnected", "client_of", "connect"]
