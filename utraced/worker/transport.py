"""One connection: packets in, requests carried out, packets out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from time import monotonic_ns, thread_time_ns

import anyio.abc

from utraced.handlers.context import Waits
from utraced.handlers.limits import MAX_BATCH, MAX_PACKET, MAX_VALUES
from utraced.handlers.session import Reason, Session
from utraced.linux import sockets
from utraced.linux.closing import Closer, close_aside
from utraced.rpc.connection import Connection
from utraced.rpc.message import Received
from utraced.rpc.method import Registry
from utraced.rpc.packet import Packet

from .answering import Answers
from .refusing import hang_up, hung_up
from .turns import Turns

log = logging.getLogger("utraced")


TURN_NS = 200_000
"""Nanoseconds of one client's requests, carried out one after the other, before the loop turns in any case."""
MAX_CLOSING = 64
"""Descriptors of a client that wait to be closed before no more of its packets are taken: each may take seconds."""
CLOSING_SECONDS = 0.01
"""Seconds between looks whether they are closed."""
RESTING_SECONDS = 0.05
"""Seconds between looks whether a client that rests is still there."""
CROWDED_SECONDS = 0.05
"""Seconds until descriptors are sent again that the kernel did not take."""
MORE = -1
"""Of a turn: it is over, and the client is listened to."""


class Transport:
    """Serves one client until it hangs up; then everything it did is undone.

    It has no task of its own: what comes is carried out right where the loop tells of it, as to wake a task for each
    packet costs more than most packets, and an idle client's task more memory than all else of it.  Requests that wait
    are tasks in ``tasks``.  ``pidfd`` is the client's process, whose end is that of the session though a child of its
    may keep the socket open.  ``over`` is called when all is undone and closed.

    A client that does not read what waits for it is not listened to beyond a bound; ``turns`` says when it is its turn,
    and what time it is.
    """

    __slots__ = (
        "_account",
        "_again",
        "_answers",
        "_blocked",
        "_broken",
        "_clock",
        "_closer",
        "_connection",
        "_drains",
        "_ended",
        "_fd",
        "_left",
        "_loop",
        "_over",
        "_packet",
        "_pidfd",
        "_sock",
        "_started",
        "_stuck_ns",
        "_turns",
        "reason",
        "session",
    )

    def __init__(  # noqa: PLR0913 - what a connection depends on
        self,
        sock: socket.socket,
        session: Session,
        registry: Registry,
        waits: Waits,
        turns: Turns,
        *,
        pidfd: int,
        tasks: anyio.abc.TaskGroup,
        over: Callable[[Transport], None],
    ) -> None:
        self._sock = sock
        self.session = session
        self._turns = turns
        self._pidfd = pidfd
        self._over = over
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._account = turns.open(self._fd, session.peer.pid)
        self._packet: Received | None = None
        self._started = 0
        self._connection = Connection(registry, max_packet=MAX_PACKET, max_batch=MAX_BATCH, max_values=MAX_VALUES)
        self._answers = Answers(session, self._connection, waits, turns, self._account, tasks=tasks)
        self._again: asyncio.Handle | None = None
        self._blocked = False
        self._broken = False
        self._ended = False
        self._left = False
        self._drains = False
        self._clock = turns.clock
        self._stuck_ns: int | None = None
        self._closer: Closer | None = None
        self.reason: Reason = "session_closed"

    def start(self) -> None:
        """Serve from now on."""
        self._sock.setblocking(False)
        # By their numbers: for a socket that is not known yet the selector would first write out an error with it.
        self._loop.add_reader(self._pidfd, self.end)
        self._hear()

    # The end

    def end(self) -> None:
        """End the session, by the daemon's will or its client's: what waits is cancelled, and all it did undone."""
        if self._ended:
            return
        self._ended = True
        self._loop.remove_reader(self._pidfd)
        self._hear_no_more()
        self._answers.cancel_all()
        if not self._answers.waiting:
            self._undo()

    def _undo(self) -> None:
        self._turns.close(self._fd)
        if self._packet is not None:
            self._close(self._packet.fds.unclaimed())
        try:
            self.session.close(self.reason, monotonic_ns())
            self.flush()
        except Exception:
            log.exception("session %d was not undone by an internal error", self.session.session)
            self._broken = True
        if self.reason != "daemon_stopping" or not self._blocked or self._broken:
            self.leave()

    def leave(self) -> None:
        """Close the connection of a session that has ended, though its client may not have read all."""
        if self._left:
            return
        self._left = True
        started = thread_time_ns()
        if self._blocked:
            self._loop.remove_writer(self._fd)
        close_aside(self._connection.close())
        for packet in self.session.packets:
            close_aside(packet.fds)
        with self._sock:
            hang_up(self._sock)
        os.close(self._pidfd)
        if self._closer is not None:
            self._closer.end()
        # What a client leaves unread may be much.
        self._turns.spend(self._turns.connecting, thread_time_ns() - started)
        self._over(self)

    # Listening

    def _hear(self) -> None:
        """Listen to the client."""
        self._again = None
        if self._ended:
            return
        self._loop.add_reader(self._fd, self._take)
        if self._packet is not None:
            self._again = self._loop.call_soon(self._take)

    def _hear_no_more(self) -> None:
        self._loop.remove_reader(self._fd)
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _take(self) -> None:
        """Carry out what has come."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        try:
            rest = self._turn()
        except Exception:
            self._fail()
            return
        if self._broken or rest is None:
            self.end()
        elif rest is not MORE:
            self._pause(rest)
        elif self._packet is not None:
            self._again = self._loop.call_soon(self._take)

    def _pause(self, rest: int) -> None:
        """Do not listen to the client for so many nanoseconds, or until it has read, or what it passed is closed."""
        self._hear_no_more()
        if rest:
            self._rest(rest)
        elif self.session.deaf:
            self._drains = True
        else:
            self._again = self._loop.call_later(CLOSING_SECONDS, self._closed)

    def _closed(self) -> None:
        """Listen again if what the client passed is closed."""
        if self._overloaded():
            self._again = self._loop.call_later(CLOSING_SECONDS, self._closed)
        else:
            self._hear()

    def _rest(self, rest: int) -> None:
        if hung_up(self._sock):
            # It has sent more than its share and gone: to carry out the rest would only keep its connections.
            self.end()
        else:
            self._again = self._loop.call_later(min(rest / 1e9, RESTING_SECONDS), self._rested)

    def _rested(self) -> None:
        if hung_up(self._sock):
            self.end()
        else:
            self._hear()

    def _overloaded(self) -> bool:
        """Tell whether too many of the client's descriptors wait to be closed."""
        return self._closer is not None and self._closer.behind > MAX_CLOSING

    def _fail(self) -> None:
        """A bug of ours ends this session, and no other."""
        log.exception("session %d ended by an internal error", self.session.session)
        self.end()

    def _turn(self) -> int | None:
        """Carry out requests for at most ``TURN_NS``; return ``MORE`` where more may come.

        Else None at the end of the stream, or the nanoseconds for which the client has to rest; 0: until it is heard.
        """
        turns, account = self._turns, self._account
        if not turns.goes_first(account):
            return MORE
        end = turns.start(account) + TURN_NS
        if rest := turns.rest(account):
            return rest
        while True:
            if self._packet is None:
                try:
                    received = sockets.receive(self._sock, MAX_PACKET)
                except BlockingIOError:
                    return MORE
                except ConnectionError:
                    return None
                if not received.data:
                    self._close(received.fds)
                    return None
                self._receive(received)
            self._advance()
            rest = turns.finish(account)
            if self._broken or self.session.deaf or self._overloaded():
                return 0
            if rest:
                return rest
            if turns.now_ns > end or not (turns.goes_on(account, self._fd) or self._packet):
                return MORE

    def _receive(self, received: sockets.Received) -> None:
        packet = Packet(received.data, received.fds)
        self._packet = self._connection.receive(
            packet, truncated=received.truncated, fds_truncated=received.fds_truncated
        )
        self._started = 0
        self.session.encoding = self._connection.event_encoding

    def _advance(self) -> None:
        """Start the next request of the packet; after the last, do what else it asks for.

        A batch is not carried out in one go, or it would hold up the others for the time of a hundred requests.
        """
        message = self._packet
        assert message is not None
        if self._started < len(message.requests):
            self._answers.start(message.requests[self._started], self._answered)
            self._started += 1
            if self._started < len(message.requests):
                return
        self._packet = None
        for request in message.cancelled:
            self._answers.cancel(request)
        if message.replies:
            self.session.reply(message.replies)
        if message.fds.any:
            self._close(message.fds.unclaimed())
        self.flush()

    def _close(self, fds: Sequence[int]) -> None:
        """Close descriptors of the client, which may take seconds each: others' must not wait for them."""
        if fds:
            self._closer = self._closer or Closer()
            self._closer.close(fds)

    def _answered(self, bug: Exception | None) -> None:
        """A request that had to wait is answered, or was cancelled."""
        if self._ended:
            if not self._answers.waiting:
                self._undo()
            return
        try:
            if bug is not None:
                raise bug
            self.flush()
        except Exception:
            self._fail()

    def flush(self) -> None:
        """Send what there is, as far as the socket takes it."""
        session = self.session
        session.flush()
        packets = session.packets
        while packets and not self._blocked and not self._broken:
            packet = packets[0]
            try:
                sockets.send(self._sock, packet.data, packet.fds)
            except BlockingIOError:
                self._block()
                self._loop.add_writer(self._fd, self._write)
                break
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    # All processes of our user together have as many descriptors on their way as one may have open,
                    # as one does that passes them and is not read (too_many_unix_fds in net/unix/garbage.c): not ours
                    # to mend, and over when they are received or their socket is closed.
                    self._block()
                    self._loop.call_later(CROWDED_SECONDS, self._write)
                    break
                # The client is gone: the reader sees the end of the stream, and the session ends there.
                self._break()
            packets.popleft()
            if packet.fds:
                close_aside(packet.fds)
            self._stuck_ns = None
            session.sent(packet)
            session.flush()
        if self._drains and not session.deaf:
            self._drains = False
            self._hear()
        if session.excessive and not self._broken:
            self._give_up("and nothing could be held back", "queue_bytes", session.limits.queue_bytes)

    def stalled(self, seconds: float) -> bool:
        """Close the session if its client has read nothing for so long, though something waits; tell whether."""
        if self._broken or self._stuck_ns is None or self._clock() - self._stuck_ns < seconds * 1_000_000_000:
            return False
        self._give_up(f"for {seconds:.0f} s", "stall_seconds", int(seconds))
        return True

    def _give_up(self, why: str, limit: str, value: int) -> None:
        session = self.session
        session.trail.exceeded(limit, value)
        log.warning(
            "session %d (pid %d, uid %d) is closed: %d bytes stay unread %s",
            session.session,
            session.peer.pid,
            session.peer.uid,
            session.queued,
            why,
        )
        self._break()

    def _break(self) -> None:
        """End the session, but not in the middle of what is being done."""
        self._broken = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._loop.call_soon(self.end)

    def _block(self) -> None:
        """Send nothing until ``_write``."""
        self._blocked = True
        if self._stuck_ns is None:
            self._stuck_ns = self._clock()

    def _write(self) -> None:
        """Go on sending when the kernel may take more."""
        if self._left:
            return
        self._loop.remove_writer(self._fd)
        self._blocked = False
        self.flush()
        if self._ended and not self._answers.waiting and not self._blocked:
            self.leave()
