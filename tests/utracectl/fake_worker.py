"""A worker that traces nothing: one process with one thread, which is as the requests say.

That it answers as the real one does, as far as it does, is what the suite in ``conformance`` shows.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Any

from tests.utracectl.server import HELLO
from utraced.api import daemon, engine, events, memory, process, thread
from utraced.api.methods import registry
from utraced.errors import Cancelled, Gone, NoSuchObject, NoSuchProcess, UtracedError
from utraced.linux import sockets
from utraced.linux.memfd import sealed
from utraced.model import Empty, Hex, ThreadStatus
from utraced.rpc.connection import Connection
from utraced.rpc.message import Request
from utraced.rpc.packet import Packet

BASE = 0x1000
CONTENTS = b"\x7fELF".ljust(4096, b".")
MAP = process.Map(
    start=Hex(BASE),
    end=Hex(BASE + len(CONTENTS)),
    perms="r--p",
    offset=Hex(0),
    dev="0:0",
    inode=Hex(0),
    path="/program",
)


class FakeWorker:
    """Serves one connection in a thread; ``stop`` of the thread is what never comes, and waits to be cancelled."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.pid = pid
        self.cancelled: list[str] = []
        self.asked: list[str] = []
        self._sock = sock
        self._connection = Connection(registry())
        self._engines: dict[int, bool] = {}
        self._seq = 0
        self._serving = threading.Thread(target=self._serve)
        self._serving.start()

    def end(self) -> None:
        """Hang up, as a worker does that dies."""
        self._sock.shutdown(socket.SHUT_RDWR)
        self._serving.join()

    def join(self) -> None:
        """Wait for the client to hang up."""
        self._serving.join()
        self._sock.close()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while True:
            poll.poll()
            try:
                packet = sockets.receive(self._sock, 204_800)
            except ConnectionResetError:
                return
            if not packet.data:
                return
            received = self._connection.receive(Packet(packet.data, packet.fds))
            for request in received.requests:
                self.asked.append(request.method)
                if not isinstance(request.params, thread.Stop):
                    self._send(self._answer(request))
            for request in received.cancelled:
                self.cancelled.append(request.method)
                self._send(self._connection.error(request, Cancelled("the request was cancelled")))
            self._send(received.replies)
            for fd in received.fds.unclaimed():
                os.close(fd)

    def _send(self, packets: list[Packet]) -> None:
        for packet in packets:
            try:
                # As the real one, it waits for a client that takes nothing.
                while not self._sent(packet):
                    select.select([], [self._sock], [])
            except (BrokenPipeError, ConnectionResetError):
                pass
            for fd in packet.fds:
                os.close(fd)

    def _sent(self, packet: Packet) -> bool:
        try:
            sockets.send(self._sock, packet.data, packet.fds)
        except BlockingIOError:
            return False
        return True

    def _answer(self, request: Request) -> list[Packet]:
        try:
            result, fds = self._carry_out(request)
        except UtracedError as error:
            return self._connection.error(request, error)
        return [*self._connection.result(request, result, fds), *self._told(request.params)]

    def _carry_out(self, request: Request) -> tuple[Any, tuple[int, ...]]:
        params = request.params
        pid = getattr(params, "pid", None)
        if pid is not None and pid != self.pid:
            raise NoSuchProcess(f"there is no process {pid}")
        match params:
            case daemon.Hello():
                return HELLO, ()
            case engine.Attach(hold=hold):
                number = len(self._engines) + 1
                self._engines[number] = True
                state = ThreadStatus(tid=self.pid, state="held" if hold else "running")
                return engine.Attached(engine=number, pid=self.pid, start_time=1, threads=(state,)), ()
            case engine.Detach(engine=number):
                if number not in self._engines:
                    raise NoSuchObject(f"there is no engine {number} in this session")
                if not self._engines[number]:
                    raise Gone(f"engine {number} has ended")
                self._engines[number] = False
                return Empty(), ()
            case engine.List():
                return engine.Engines(
                    engines=tuple(
                        engine.EngineSummary(engine=number, pid=self.pid, start_time=1)
                        for number, lives in self._engines.items()
                        if lives
                    )
                ), ()
            case process.Maps(form="fd"):
                size = 128
                return process.Mapped(fd=0, size=size, count=1), (sealed("maps", [bytes(size)]),)
            case process.Maps():
                return process.Mapped(maps=(MAP,)), ()
            case memory.Read(address=address, size=size, fd=None):
                return memory.Contents(data=CONTENTS[address - BASE :][:size]), ()
            case memory.Read(address=address, size=size, fd=int(index)):
                fd = request.descriptors.take(index)
                os.pwrite(fd, CONTENTS[address - BASE :][:size], 0)
                os.close(fd)
                return memory.Contents(size=size), ()
        return Empty(), ()

    def _told(self, params: object) -> list[Packet]:
        """Return the event of a signal."""
        if not isinstance(params, thread.Signal) or not any(self._engines.values()):
            return []
        self._seq += 1
        event = events.Signal(
            seq=self._seq, time_ns=self._seq, pid=self.pid, tid=params.tid, engine=1, signal=str(params.signal)
        )
        encoding = self._connection.event_encoding
        return [Packet(encoding.notification("event", encoding.encode(event)))]
