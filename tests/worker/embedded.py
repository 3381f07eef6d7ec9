"""An embedded worker, forked from the test, which may change it first; and raw packets to and from it."""

from __future__ import annotations

import os
import select
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from tests.children import fork, libc
from tests.live.machine import children, status, wait_end
from utracectl.client import Client
from utraced.attacher.starting import NAME
from utraced.linux import sockets
from utraced.worker.attachers import StartAttacher

PATIENCE = 20.0
LARGEST = 1 << 20
PR_SET_CHILD_SUBREAPER = 36


class Wire:
    """The client's end of a connection: JSON values, or bytes, one packet each."""

    def __init__(self, sock: socket.socket, worker: int) -> None:
        self.socket = sock
        self.worker = worker
        self.received: list[Any] = []
        self._answers: dict[Any, Any] = {}

    def send(self, *messages: Any, fds: tuple[int, ...] = ()) -> None:
        """Send a request, or several as a batch; bytes as they are."""
        value = messages[0] if len(messages) == 1 else list(messages)
        sockets.send(self.socket, value if isinstance(value, bytes) else msgspec.json.encode(value), fds)

    def receive(self) -> Any:
        """Return the next packet, None at the end of the stream; descriptors in it are closed."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), f"nothing came after {self.received[-3:]}"
        packet = sockets.receive(self.socket, LARGEST)
        for fd in packet.fds:
            os.close(fd)
        if not packet.data:
            return None
        value = msgspec.json.decode(packet.data)
        self.received.append(value)
        return value

    def until(self, holds: Callable[[Any], object]) -> Any:
        """Receive until a message, also within a batch, ``holds``; return it."""
        while True:
            packet = self.receive()
            assert packet is not None, f"the stream ended after {self.received[-3:]}"
            messages = packet if isinstance(packet, list) else [packet]
            self._answers |= {message["id"]: message for message in messages if "method" not in message}
            for message in messages:
                if holds(message):
                    return message

    def answer(self, number: Any) -> Any:
        """Return the answer of this id, received by now or to come."""
        if number not in self._answers:
            self.until(lambda message: "method" not in message and message["id"] == number)
        return self._answers.pop(number)

    def ask(self, number: Any, method: str, **params: Any) -> Any:
        """Send a request and return its answer."""
        self.send(request(number, method, **params))
        return self.answer(number)

    def order(self) -> list[tuple[str, Any]]:
        """Return all messages so far, in order: a reply's id, or an event's params."""
        found: list[tuple[str, Any]] = []
        for packet in self.received:
            for message in packet if isinstance(packet, list) else [packet]:
                if "method" in message:
                    found.append(("event", message["params"]))
                else:
                    found.append(("reply", message["id"]))
        return found


def request(number: Any, method: str, **params: Any) -> dict[str, Any]:
    """Return a request as a value."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def notification(method: str, **params: Any) -> dict[str, Any]:
    """Return a notification as a value."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


@contextmanager
def embedded(
    prepare: Callable[[], object] = lambda: None, attacher: StartAttacher = lambda: None, *, ends: int = 0
) -> Iterator[Wire]:
    """Give a connection to a worker that ``prepare`` was called in; it has to end by itself, with the status ``ends``.

    ``attacher`` starts one.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = fork()
    if pid == 0:
        _live(ours, theirs, prepare, attacher)
    theirs.close()
    ours.setblocking(False)
    wire = Wire(ours, pid)
    try:
        yield wire
    finally:
        ours.close()
        wait_end(pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == ends


def _live(ours: socket.socket, theirs: socket.socket, prepare: Callable[[], object], attacher: StartAttacher) -> None:
    """Be the worker."""
    code = 1
    try:
        ours.close()
        from utraced.worker.serve import serve_embedded

        prepare()
        serve_embedded(theirs.detach(), attacher)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


@contextmanager
def adopting() -> Iterator[None]:
    """Have attachers, which are nobody's children, become ours; at the end they have to end by themselves."""
    libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
        for pid in children(os.getpid()):
            if status(pid).get("Name") == NAME:
                wait_end(pid)
                os.waitpid(pid, 0)
    finally:
        libc().prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextmanager
def client(
    prepare: Callable[[], object] = lambda: None, attacher: StartAttacher = lambda: None, *, ends: int = 0
) -> Iterator[Client]:
    """Give a client of such a worker."""
    with embedded(prepare, attacher, ends=ends) as wire, Client(wire.socket) as client:
        yield client
