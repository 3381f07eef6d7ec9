"""A worker's life: embedded, it serves the one connection it was started on; listening, whoever connects."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import monotonic_ns
from typing import Any

import anyio
import anyio.abc

from utraced.api.methods import registry
from utraced.audit import Audit
from utraced.configuration import Limits
from utraced.handlers.daemon import user_name
from utraced.handlers.session import Session
from utraced.handlers.sessions import Sessions
from utraced.kernel.signalfd import open_sigchld
from utraced.kernel.tracer import Tracer
from utraced.linux.audit_sinks import sink_of
from utraced.linux.credentials import peer, peer_pidfd
from utraced.linux.ending import ending_signals
from utraced.linux.handing import Order
from utraced.linux.identity import own_identity
from utraced.linux.limits import raise_open_files
from utraced.linux.listening import Listening
from utraced.linux.standard import silence
from utraced.linux.systemd import Notifier
from utraced.tracing.waiting import Waiter

from .attachers import BrokersAttacher, OwnAttacher, StartAttacher
from .changes import Changes
from .handed import Handed
from .listen import Acceptor
from .logs import start_log
from .loop import Loop
from .pump import Pump
from .recording import Recorder
from .slack import Slack
from .transport import Transport
from .turns import Turns
from .waits import EventWaits

log = logging.getLogger("utraced")

TICK = 0.005
"""Seconds that an observation waits for others to go with it in a packet."""
PATIENCE = 0.05
"""Seconds between looks whether the threads that are to stop still can."""
LOOK = 0.25
"""Seconds between looks whether zombies have been reaped, where the kernel does not tell (before Linux 6.9)."""
LINGER = 1.0
"""Seconds in which clients may read what the end of the daemon left them."""
STAY = 5.0
"""Seconds between looks whether there is still something to stay for; mostly its end is told."""
LETTING_GO = 5.0
"""Seconds in which threads are to stop to be detached; what is in uninterruptible sleep the kernel detaches."""


class Worker:
    """A worker with its tracer, its pump and its sessions, in ``loop``.

    ``limits`` are those of the user it traces for, ``audit`` is told what its sessions do.  ``clock`` tells
    nanoseconds.  ``kin`` are the daemon's other processes.
    """

    def __init__(  # noqa: PLR0913 - the parts of a worker
        self,
        loop: Loop,
        limits: Limits,
        audit: Audit,
        *,
        recorder: Recorder | None = None,
        clock: Callable[[], int] = monotonic_ns,
        kin: frozenset[int] = frozenset(),
    ) -> None:
        self._sigchld = open_sigchld()
        self._waits = EventWaits()
        self.tracer = Tracer(self._completed, most=limits.tracees)
        self.sessions = Sessions(self.tracer, limits, audit, kin=kin)
        self._slack = Slack()
        self.recorder = recorder
        if recorder is not None:
            self.sessions.recorder = recorder
            recorder.told = lambda: self._flush(idle=True)
            recorder.let_go = self._slack.let_go
        self._pump = Pump(self.tracer, self._sigchld, self._flush, loop.ready)
        self._turns = Turns(loop.waiting, clock=clock)
        self._registry = registry()
        self._transports: dict[Session, Transport] = {}
        self._late = anyio.Event()
        self._free = anyio.Event()
        self._unreaped = anyio.Event()
        self._changes = Changes()

    async def embedded(self, sock: socket.socket) -> None:
        """Serve ``sock`` until its end, SIGTERM or the client's death, then let go of everything.

        It stays, silent, for the processes that end with it: to end them is not what the end of a client means.
        """
        async with self._pumping(), self._serving() as serving:
            await serving.start(self._watch_signals, (signal.SIGTERM,), serving.cancel_scope)
            self._serve(serving, sock, self.sessions.add(peer(sock)), peer_pidfd(sock))
            while self._changes.sessions:
                await self._changes.next()
            if self.tracer.core.bound():
                silence()
                await self._unbound()
            serving.cancel_scope.cancel()

    async def listening(self, listeners: Sequence[Listening], notifier: Notifier) -> None:
        """Serve whoever connects to ``listeners`` until SIGTERM, SIGINT or SIGHUP, then let go of everything."""
        names = ", ".join(listener.name for listener in listeners)
        async with self._pumping(), self._serving() as serving:
            await serving.start(self._watch_signals, ending_signals(), serving.cancel_scope, notifier)
            with self._accepting(serving) as acceptor:
                for listener in listeners:
                    acceptor.listen(listener)
                log.info("pid %d listens at %s", os.getpid(), names)
                notifier.tell(READY=1, STATUS=f"Listening at {names}")
                await self._report(notifier, names)
        log.info("stopped")

    async def handed(self, channel: socket.socket, attachers: BrokersAttacher, idle_seconds: float) -> None:
        """Serve whom the broker hands on over ``channel``, until it says so or a signal does, or nobody is left."""
        async with self._pumping(), self._serving() as serving:
            await serving.start(self._watch_signals, ending_signals(), serving.cancel_scope)
            with self._accepting(serving) as acceptor:
                source = Handed(
                    channel, acceptor, attachers, self._changes, idle_seconds=idle_seconds, unbound=self._unbound
                )
                if await source.run(serving):
                    self._say_stopping()
            serving.cancel_scope.cancel()

    @contextmanager
    def _accepting(self, serving: anyio.abc.TaskGroup) -> Iterator[Acceptor]:
        """Give what makes connections sessions, meanwhile."""
        acceptor = Acceptor(self.sessions, self._registry, partial(self._serve, serving), self._turns, serving)
        try:
            yield acceptor
        finally:
            acceptor.close()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[anyio.abc.TaskGroup]:
        """Give the tasks of requests that wait; after them, end all sessions."""
        try:
            async with anyio.create_task_group() as serving:
                yield serving
        finally:
            for transport in list(self._transports.values()):
                transport.end()
            with anyio.move_on_after(LINGER, shield=True):
                while self._transports:
                    await self._changes.next()
            for transport in list(self._transports.values()):
                transport.leave()

    @asynccontextmanager
    async def _pumping(self) -> AsyncIterator[None]:
        """Have stops collected meanwhile, and until all tracees are detached."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump.run)
            tasks.start_soon(self._tick)
            tasks.start_soon(self._watch_reaped)
            if self.recorder is not None:
                tasks.start_soon(self.recorder.run)
            if self.sessions.limits.stall_seconds is not None:
                tasks.start_soon(self._watch_stalls)
            yield
            await self._let_go()
            tasks.cancel_scope.cancel()
        if self.recorder is not None:
            self.recorder.close()
        self.tracer.close()
        self.sessions.audit.close()

    def _serve(self, serving: anyio.abc.TaskGroup, sock: socket.socket, session: Session, pidfd: int) -> None:
        """Serve one session until its client hangs up, or ends though a child of its may keep the socket open."""
        transport = self._transports[session] = Transport(
            sock, session, self._registry, self._waits, self._turns, pidfd=pidfd, tasks=serving, over=self._over
        )
        session.trail.connected()
        self._changes.came()
        transport.start()

    def _over(self, transport: Transport) -> None:
        """Forget a session that has ended."""
        session = transport.session
        del self._transports[session]
        self.sessions.remove(session)
        session.trail.ended(transport.reason)
        self._slack.ended()
        self._changes.went()

    async def _watch_stalls(self) -> None:
        while True:
            await anyio.sleep(1)
            self.close_stalled()

    def close_stalled(self) -> None:
        """Close the sessions whose clients have left unread for too long what waits for them."""
        seconds = self.sessions.limits.stall_seconds
        if seconds is not None:
            for transport in list(self._transports.values()):
                transport.stalled(seconds)

    async def _watch_signals(
        self,
        ending: Sequence[signal.Signals],
        scope: anyio.CancelScope,
        notifier: Notifier | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """End all sessions at the first of these signals."""
        with anyio.open_signal_receiver(*ending) as signals:
            task_status.started()
            async for _ in signals:
                if notifier is not None:
                    log.info("stopping: lets go of %d threads", len(self.tracer.core.tracees))
                    notifier.tell(STOPPING=1, STATUS="Letting go of what is traced")
                self._say_stopping()
                scope.cancel()
                return

    def _say_stopping(self) -> None:
        """Have the ends of sessions told as the daemon's."""
        for transport in self._transports.values():
            transport.reason = "daemon_stopping"

    async def _report(self, notifier: Notifier, names: str) -> None:
        """Tell the service manager how many sessions there are, at most once a second."""
        told = 0
        while True:
            count = self._changes.sessions
            if count == told:
                await self._changes.next()
                continue
            notifier.tell(STATUS=f"Listening at {names}, {count} session{'s'[: count != 1]}")
            told = count
            await anyio.sleep(1)

    async def _unbound(self) -> None:
        """Wait until there is no process that ends with us."""
        while self.tracer.core.bound():
            with anyio.move_on_after(STAY):
                await self._free.wait()

    async def _let_go(self) -> None:
        """Wait until all tracees are detached but those that end with us."""
        with anyio.move_on_after(LETTING_GO):
            # A leader that has ended is ours until its other threads have ended, which are let go and live on.
            while not self.tracer.wait_over(self.tracer.core.unbound()):
                with anyio.move_on_after(PATIENCE):
                    await self._free.wait()

    def _completed(self, waiter: Waiter) -> None:
        self._waits.completed(waiter)
        self._pump.hurry()

    def _flush(self, *, idle: bool) -> None:
        """Send what should not wait; leave the rest to the tick."""
        late = False
        for session in tuple(self.sessions.stirred):
            if session.packets or (idle and session.urgent):
                self._transports[session].flush()
            if session.unsent:
                late = True
            else:
                self.sessions.stirred.discard(session)
        if late or self.tracer.core.waiting_entries():
            self._late.set()
        if self.tracer.reaping:
            self._unreaped.set()
        if not self.tracer.core.tracees:
            self._free.set()
            self._free = anyio.Event()

    async def _watch_reaped(self) -> None:
        """Tell of zombies that are reaped, while there are any that somebody wants to be told of."""
        while True:
            await self._unreaped.wait()
            self._unreaped = anyio.Event()
            while self.tracer.reaping:
                with anyio.move_on_after(LOOK):
                    await anyio.wait_readable(self.tracer.reaping.fileno())
                self.tracer.look_for_reaped()
                self._send_stirred()

    async def _tick(self) -> None:
        """Send observations that have waited long enough, and tell of calls that last."""
        while True:
            await self._late.wait()
            await anyio.sleep(TICK)
            self._late = anyio.Event()
            younger = self.tracer.core.overdue(monotonic_ns() - int(TICK * 500_000_000))
            self.tracer.perform()
            self._send_stirred()
            if younger:
                self._late.set()

    def _send_stirred(self) -> None:
        """Send what there is for any session."""
        for session in tuple(self.sessions.stirred):
            self._transports[session].flush()


def serve_embedded(fd: int, attacher: StartAttacher) -> None:
    """Be the private worker of the client at the other end of ``fd``, a connected SOCK_SEQPACKET socket.

    ``attacher`` starts one.
    """
    # The terminal's Ctrl-C and hang-up are the client's to handle: dying of them would lose the tracees' signals.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sock = socket.socket(fileno=fd)
    # Its one client may take its time: there is nobody else whom that could harm.  And stderr is that client's.
    recorder = Recorder(OwnAttacher(attacher, own_identity()))
    _run(lambda worker: worker.embedded(sock), Limits(stall_seconds=None), Audit(), recorder)


def serve_listening(
    listeners: Sequence[Listening], notifier: Notifier, limits: Limits, attacher: StartAttacher
) -> None:
    """Serve whoever connects to ``listeners``, and close them at the end; ``notifier`` hears how it goes.

    ``attacher`` starts one.
    """
    start_log()
    audit = Audit(sink_of(os.environ), user=user_name(os.geteuid()))
    try:
        recorder = Recorder(OwnAttacher(attacher, own_identity()))
        _run(lambda worker: worker.listening(listeners, notifier), limits, audit, recorder)
    finally:
        for listener in listeners:
            listener.close()


def serve_handed(fd: int, order: Order, kin: frozenset[int], *, user: str) -> None:
    """Be ``user``'s worker, of the broker at the other end of ``fd``; ``kin`` are the daemon's other processes."""
    audit = Audit(sink_of(os.environ), user=user)
    with socket.socket(fileno=fd) as channel:
        attachers = BrokersAttacher(channel, order.lacking)
        _run(
            lambda worker: worker.handed(channel, attachers, order.idle_seconds),
            order.limits,
            audit,
            Recorder(attachers),
            kin=kin,
        )


def _run(
    main: Callable[[Worker], Coroutine[Any, Any, None]],
    limits: Limits,
    audit: Audit,
    recorder: Recorder | None = None,
    *,
    kin: frozenset[int] = frozenset(),
) -> None:
    loop = Loop()

    async def work() -> None:
        await main(Worker(loop, limits, audit, recorder=recorder, kin=kin))

    raise_open_files()
    # What is loaded now stays; events make no cycles, so the collector need not look at them every 700 objects.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    loop.run(work)
