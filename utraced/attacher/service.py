"""The attacher's loop: clients, their requests, and their recordings.

It ends when whoever started it has closed his end and no client is left; what a client recorded ends with its
connection.  A client is a stranger: it is bounded in packets, recordings and patience, and waits alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections.abc import Sequence

import msgspec

from utraced.errors import InternalError, InvalidParams, LimitExceeded, NoSuchObject, UtracedError
from utraced.kernel.bpf_recording import Recording
from utraced.kernel.event_pool import EventPool
from utraced.kernel.perf_recording import PerfRecording
from utraced.kernel.recorder_requests import End, Record, Recorded, requests
from utraced.kernel.tracepoints import Tracepoints
from utraced.linux import sockets
from utraced.linux.capabilities import CAP_SYS_PTRACE
from utraced.linux.closing import close_aside
from utraced.linux.handing import Serve
from utraced.linux.identity import Identity
from utraced.linux.pidfd import pid_of
from utraced.model import Empty
from utraced.rpc.connection import Connection
from utraced.rpc.message import Request
from utraced.rpc.packet import Packet

from . import event_traces, traces
from .asking import Question
from .preparing import Preparation

log = logging.getLogger("utraced")

MAX_PACKET = 64 << 10
MAX_RECORDINGS = 64
"""Of one client."""
MAX_OF_USER = 8
"""Of all clients of a user who may not trace everybody: each taxes every call of the machine, and holds memory."""
MAX_WAITING = 16
"""Questions to the kernel that one client may have open."""
_SERVE = msgspec.msgpack.Decoder(Serve)


class Asked:
    """A recording that has been asked for: while the kernel is asked whether it may be, it is prepared.

    By events there is nothing to prepare; but once they are there it is asked again, as no program looks whose the
    process is: what it becomes after that, the events tell.
    """

    def __init__(
        self, request: Request, record: Record, pidfd: int, question: Question, preparation: Preparation | None
    ) -> None:
        self.request = request
        self.record = record
        self.pidfd = pidfd
        self.question = question
        self.preparation = preparation
        self.by_events: PerfRecording | None = None
        self.prepared = preparation is None
        self.answered = self.refused = False


class Finishing:
    """A recording by events of which the rest is being written; ``request`` waits for that, if somebody asked."""

    def __init__(self, recording: PerfRecording, client: Client, request: Request | None) -> None:
        self.recording = recording
        self.client = client
        self.request = request


class Client:
    """One connection, and what is recorded for it."""

    def __init__(self, sock: socket.socket, serve: Serve) -> None:
        self.socket = sock
        self.identity = serve.identity
        self.worker = serve.worker
        self.connection = Connection(requests(), max_packet=MAX_PACKET)
        self.recordings: dict[int, Recording | PerfRecording] = {}
        self.waiting: set[Asked] = set()
        self.last = 0


class Service:
    """Serves the clients that come over ``control``.

    ``kept`` are the capabilities that questions may be asked with, ``few`` is for traces of few calls, ``tracepoints``
    for those by events.
    """

    def __init__(
        self,
        control: socket.socket,
        kept: int,
        few: traces.FewCalls | None = None,
        tracepoints: Tracepoints | None = None,
    ) -> None:
        self._control: socket.socket | None = control
        self._kept = kept
        self._few = few
        self._tracepoints = tracepoints or Tracepoints()
        self._loaded = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._clients: set[Client] = set()

    def run(self) -> None:
        """Serve until nobody is left to."""
        while self._control is not None or self._clients:
            for key, _ in self._selector.select():
                match key.data:
                    case None:
                        self._take_client()
                    case Client() as client:
                        self._take_packet(client)
                    case (Client() as client, Asked() as asked, Question()):
                        self._answered(client, asked)
                    case (Client() as client, Asked() as asked, Preparation()):
                        self._prepared(client, asked)
                    case Recording() as recording:
                        self._widen(recording)
                    case Finishing() as finishing:
                        self._finished(finishing)

    def _take_client(self) -> None:
        """Take what our starter says: a new client, or that there will be no more."""
        control = self._control
        if control is None:
            return
        try:
            received = sockets.receive(control, MAX_PACKET)
        except BlockingIOError:
            return
        except ConnectionError:
            received = sockets.Received(b"", (), truncated=False, fds_truncated=False)
        if not received.data:
            self._selector.unregister(control)
            control.close()
            self._control = None
            return
        serve = _SERVE.decode(received.data)
        (fd,) = received.fds
        for former in [each for each in self._clients if serve.worker is not None and each.worker == serve.worker]:
            self._forget(former)
        client = Client(socket.socket(fileno=fd), serve)
        client.socket.setblocking(False)
        self._clients.add(client)
        self._selector.register(client.socket, selectors.EVENT_READ, client)

    def _take_packet(self, client: Client) -> None:
        """Take one packet of a client; at the end of its stream, forget it."""
        if client not in self._clients:
            return
        try:
            received = sockets.receive(client.socket, MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            self._forget(client)
            return
        if not received.data:
            close_aside(received.fds)
            self._forget(client)
            return
        message = client.connection.receive(
            Packet(received.data, received.fds), truncated=received.truncated, fds_truncated=received.fds_truncated
        )
        for request in message.requests:
            self._carry_out(client, request)
        close_aside(message.fds.unclaimed())
        self._send(client, message.replies)

    def _carry_out(self, client: Client, request: Request) -> None:
        """Do what a request asks, or begin to."""
        try:
            match request.params:
                case Record() as record:
                    self._ask(client, request, record)
                case End(recording=number):
                    if self._end(client, number, request):
                        self._send(client, client.connection.result(request, Empty()))
        except Exception as error:  # told to the client, our bugs as internal_error
            self._fail(client, request, error)

    def _ask(self, client: Client, request: Request, record: Record) -> None:
        """Ask the kernel, as the client, whether it may trace the process."""
        pidfd = request.descriptors.take(record.pidfd)
        try:
            if len(client.recordings) + len(client.waiting) >= MAX_RECORDINGS or len(client.waiting) >= MAX_WAITING:
                raise LimitExceeded(
                    f"{len(client.recordings)} traces of this kind are on",
                    limit="recordings",
                    value=MAX_RECORDINGS,
                    hint="End traces that are no longer needed.",
                )
            self._check_user(client.identity)
            traces.check_place(record.by)
            identity = self._asking(client)
            asked = Asked(request, record, pidfd, *self._begin(client, record, identity, pid_of(pidfd)))
        except ValueError as error:
            close_aside([pidfd])
            raise InvalidParams("the descriptor is no pidfd", member="pidfd") from error
        except BaseException:
            close_aside([pidfd])
            raise
        client.waiting.add(asked)
        self._selector.register(asked.question, selectors.EVENT_READ, (client, asked, asked.question))
        if asked.preparation is not None:
            self._selector.register(asked.preparation, selectors.EVENT_READ, (client, asked, asked.preparation))

    def _begin(self, client: Client, record: Record, asking: Identity, pid: int) -> tuple[Question, Preparation | None]:
        """Begin to ask the kernel about process ``pid``, and to prepare for its answer."""
        question = Question(asking, pid)
        if record.by == "perf":
            return question, None
        try:
            return question, Preparation(record, client.identity, self._few)
        except RuntimeError as error:
            question.answer()
            raise LimitExceeded(f"no thread can be made: {error}", limit="threads") from error

    def _asking(self, client: Client) -> Identity:
        """Return as whom the kernel is asked."""
        return msgspec.structs.replace(client.identity, capabilities=client.identity.capabilities & self._kept)

    def _check_user(self, identity: Identity) -> None:
        """Raise LimitExceeded where a user has as many recordings as one can have."""
        if identity.capabilities & CAP_SYS_PTRACE:
            return
        others = [client for client in self._clients if client.identity.uid == identity.uid]
        if sum(len(client.recordings) + len(client.waiting) for client in others) >= MAX_OF_USER:
            raise LimitExceeded(
                f"user {identity.uid} has {MAX_OF_USER} traces of this kind on",
                limit="recordings",
                value=MAX_OF_USER,
                hint="End traces that are no longer needed, or use backend ptrace.",
            )

    def _answered(self, client: Client, asked: Asked) -> None:
        """Take what the kernel has answered: a refusal is told at once."""
        self._selector.unregister(asked.question)
        asked.answered = True
        refusal = asked.question.answer()
        if refusal is not None:
            asked.refused = True
            self._fail(client, asked.request, refusal)
        self._decide(client, asked)

    def _prepared(self, client: Client, asked: Asked) -> None:
        """Take note that it is prepared."""
        assert asked.preparation is not None
        self._selector.unregister(asked.preparation)
        asked.prepared = True
        self._decide(client, asked)

    def _decide(self, client: Client, asked: Asked) -> None:
        """Begin what was asked for when it is prepared, where the kernel lets the client have it."""
        if not asked.answered or not asked.prepared:
            return
        client.waiting.discard(asked)
        recording: Recording | PerfRecording | None
        try:
            recording = self._taken(client, asked) if asked.preparation is not None else self._by_events(client, asked)
            if asked in client.waiting:
                return
        except traces.Crowded:
            self._prepare_again(client, asked)
            return
        except Exception as error:  # as in _carry_out
            self._fail(client, asked.request, error)
            recording = None
        close_aside([asked.pidfd])
        if recording is None:
            return
        client.last += 1
        client.recordings[client.last] = recording
        programs = isinstance(recording, Recording)
        if isinstance(recording, Recording) and recording.narrow is not None:
            self._selector.register(recording.narrow, selectors.EVENT_READ, recording)
        size = asked.record.ring_size
        result = Recorded(recording=client.last, ring=0, counters=1, ring_size=size, twice=programs)
        packets = client.connection.result(asked.request, result, recording.shared)
        client.connection.take_unsent()  # ours, and still in use
        self._send(client, packets)
        if programs and not self._loaded:
            self._loaded = True
            threading.Thread(target=traces.load_rest, daemon=True).start()

    def _taken(self, client: Client, asked: Asked) -> Recording | None:
        """Return what was asked for, begun; None where nobody is to have it.  Raises what has kept us from it."""
        assert asked.preparation is not None
        if asked.refused or client not in self._clients:
            asked.preparation.close()
            return None
        recording = asked.preparation.take()
        try:
            traces.begin(recording, asked.pidfd)
            _check_passing(recording)
        except BaseException:
            recording.close()
            raise
        return recording

    def _by_events(self, client: Client, asked: Asked) -> PerfRecording | None:
        """Return what was asked for, begun; None where nobody is to have it, or the kernel is asked again."""
        if asked.refused or client not in self._clients:
            if asked.by_events is not None:
                self._finish(Finishing(asked.by_events, client, None))
            return None
        recording = asked.by_events
        guard = traces.guard_of(client.identity)
        if recording is None:
            pid = pid_of(asked.pidfd)
            narrow = traces.is_narrow(pid)
            recording = event_traces.record(asked.record, asked.pidfd, guard, self._tracepoints, narrow=narrow)
            try:
                _check_passing(recording)
                if guard is not None:
                    asked.question = Question(self._asking(client), pid)
                    asked.by_events = recording
                    asked.answered = False
                    client.waiting.add(asked)
                    self._selector.register(asked.question, selectors.EVENT_READ, (client, asked, asked.question))
                    return None
            except BaseException:
                recording.close()
                raise
        recording.start()
        return recording

    def _prepare_again(self, client: Client, asked: Asked) -> None:
        """Prepare what looks at all calls, where the tracepoints of those asked for take no more programs."""
        try:
            asked.preparation = Preparation(asked.record, client.identity)
        except RuntimeError as error:
            close_aside([asked.pidfd])
            self._fail(client, asked.request, LimitExceeded(f"no thread can be made: {error}", limit="threads"))
            return
        asked.prepared = False
        client.waiting.add(asked)
        self._selector.register(asked.preparation, selectors.EVENT_READ, (client, asked, asked.preparation))

    def _fail(self, client: Client, request: Request, error: Exception) -> None:
        if not isinstance(error, UtracedError):
            log.error("internal error of the attacher in %s", request.method, exc_info=error)
            error = InternalError("the attacher failed")
        self._send(client, client.connection.error(request, error))

    def _send(self, client: Client, packets: Sequence[Packet]) -> None:
        """Send replies; a client that does not take them is of no use."""
        if client not in self._clients:
            return
        try:
            for packet in packets:
                sockets.send(client.socket, packet.data, packet.fds)
        except OSError:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        self._clients.discard(client)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.socket)
        for number in list(client.recordings):
            self._end(client, number)
        client.socket.close()

    def _end(self, client: Client, number: int, request: Request | None = None) -> bool:
        """End a recording; return whether that is done, and not still to be answered."""
        recording = client.recordings.pop(number, None)
        if recording is None:
            raise NoSuchObject(f"there is no recording {number}")
        if isinstance(recording, PerfRecording):
            self._finish(Finishing(recording, client, request))
            return False
        self._unwatch(recording)
        recording.close()
        return True

    def _finish(self, finishing: Finishing) -> None:
        """Have the rest be written, and the events be closed, for which the kernel takes its time."""
        finishing.recording.finish()
        self._selector.register(finishing.recording, selectors.EVENT_READ, finishing)

    def _finished(self, finishing: Finishing) -> None:
        client, request = finishing.client, finishing.request
        self._selector.unregister(finishing.recording)
        finishing.recording.close()
        if request is not None and client in self._clients:
            self._send(client, client.connection.result(request, Empty()))

    def _widen(self, recording: Recording) -> None:
        """A 32-bit program has been executed, whose calls are to be seen too."""
        self._unwatch(recording)
        try:
            recording.widen()
        except OSError as error:
            log.error("the calls of 32-bit programs are not seen: %s", error.strerror)

    def _unwatch(self, recording: Recording) -> None:
        if recording.narrow is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(recording.narrow)


def _check_passing(recording: Recording | PerfRecording) -> None:
    """Raise LimitExceeded where no descriptors can be passed on (unix(7), ETOOMANYREFS)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        try:
            sockets.send(ours, b"!", recording.shared)
        except OSError as error:
            raise LimitExceeded(
                f"descriptors cannot be passed on just now: {error.strerror}",
                limit="descriptors",
                hint="Processes of root have too many on their way to others. Ask again, or use backend ptrace.",
            ) from error


def serve(control_fd: int, kept: int, tracepoints: Tracepoints) -> None:
    """Be the attacher of whoever holds the other end of the socket ``control_fd``."""
    # What takes long is had before the first request has come, or while the kernel is asked about it.
    threading.Thread(target=traces.load, daemon=True).start()
    control = socket.socket(fileno=control_fd)
    control.setblocking(False)
    Service(control, kept, traces.FewCalls(tracepoints, EventPool()), tracepoints).run()
    os._exit(0)
