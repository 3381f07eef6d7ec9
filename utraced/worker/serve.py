"""A worker's life: embedded, it serves the one connection it was started on."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable
from time import monotonic_ns

import anyio

from utraced.api.methods import registry
from utraced.handlers.session import Session
from utraced.kernel.signalfd import open_sigchld
from utraced.kernel.tracer import Tracer
from utraced.linux.credentials import peer, peer_pidfd
from utraced.tracing.waiting import Waiter

from .loop import Loop
from .pump import Pump
from .transport import Transport
from .waits import EventWaits

TICK = 0.005
"""Seconds that an observation waits for others to go with it in a packet."""
LETTING_GO = 5.0
"""Seconds in which threads are to stop to be detached; what is in uninterruptible sleep the kernel detaches."""


class Worker:
    """A worker with its tracer, its pump and its connections; ``ready`` tells whether the loop has something to do."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._sigchld = open_sigchld()
        self._waits = EventWaits()
        self.tracer = Tracer(self._completed)
        self._pump = Pump(self.tracer, self._sigchld, self._flush, ready)
        self._registry = registry()
        self._transports: list[Transport] = []
        self._late = anyio.Event()
        self._free = anyio.Event()

    async def embedded(self, sock: socket.socket) -> None:
        """Serve ``sock`` until its end, SIGTERM or the client's death, then let go of everything."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump.run)
            tasks.start_soon(self._tick)
            transport = Transport(sock, Session(1, peer(sock), self.tracer), self._registry, self._waits)
            self._transports.append(transport)
            async with anyio.create_task_group() as serving:
                serving.start_soon(self._watch_peer, peer_pidfd(sock), serving.cancel_scope)
                serving.start_soon(self._watch_signals, transport, serving.cancel_scope)
                await transport.serve()
                serving.cancel_scope.cancel()
            self._transports.remove(transport)
            await self._let_go()
            tasks.cancel_scope.cancel()
        self.tracer.close()

    async def _watch_peer(self, pidfd: int, scope: anyio.CancelScope) -> None:
        """End the session when the client dies, though a child of its may keep the socket open."""
        await anyio.wait_readable(pidfd)
        scope.cancel()

    async def _watch_signals(self, transport: Transport, scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                transport.reason = "daemon_stopping"
                scope.cancel()
                return

    async def _let_go(self) -> None:
        """Wait until all tracees are detached."""
        if self.tracer.core.tracees:
            with anyio.move_on_after(LETTING_GO):
                await self._free.wait()

    def _completed(self, waiter: Waiter) -> None:
        self._waits.completed(waiter)
        self._pump.hurry()

    def _flush(self, *, idle: bool) -> None:
        """Send what should not wait; leave the rest to the tick."""
        late = False
        for transport in self._transports:
            session = transport.session
            if session.packets or (idle and session.urgent):
                transport.flush()
            late = late or session.unsent
        if late or self.tracer.core.waiting_entries():
            self._late.set()
        if not self.tracer.core.tracees:
            self._free.set()
            self._free = anyio.Event()

    async def _tick(self) -> None:
        """Send observations that have waited long enough, and tell of calls that last."""
        while True:
            await self._late.wait()
            await anyio.sleep(TICK)
            self._late = anyio.Event()
            younger = self.tracer.core.overdue(monotonic_ns() - int(TICK * 500_000_000))
            self.tracer.perform()
            for transport in self._transports:
                transport.flush()
            if younger:
                self._late.set()


def serve_embedded(fd: int) -> None:
    """Be the private worker of the client at the other end of ``fd``, a connected SOCK_SEQPACKET socket."""
    # The terminal's Ctrl-C and hang-up are the client's to handle: dying of them would lose the tracees' signals.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sock = socket.socket(fileno=fd)

    loop = Loop()

    async def main() -> None:
        await Worker(loop.ready).embedded(sock)

    # What is loaded now stays; events make no cycles, so the collector need not look at them every 700 objects.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    loop.run(main)
