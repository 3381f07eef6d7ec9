"""An attacher of the test's own, and a client of it that speaks by hand."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from tests.kernel.recording import needs_bpf
from utraced.attacher.starting import start
from utraced.kernel.recorder_requests import requests
from utraced.linux import sockets
from utraced.linux.attaching import NEEDED
from utraced.linux.capabilities import CAP_IPC_LOCK, permitted
from utraced.linux.handing import Serve
from utraced.linux.identity import Identity
from utraced.rpc.connection import Connection
from utraced.rpc.method import Method
from utraced.rpc.packet import Packet

PATIENCE = 30.0
LARGEST = 1 << 20


def needed(pid: int) -> int:
    """Return the capabilities that attacher ``pid`` is to have: one more, of ours, where it could not lift a limit."""
    unlimited = resource.prlimit(pid, resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    return NEEDED if unlimited else NEEDED | permitted() & CAP_IPC_LOCK


class AttacherClient:
    """One connection to an attacher."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.connection = Connection(requests())

    def send(self, data: bytes, fds: tuple[int, ...] = ()) -> None:
        sockets.send(self.socket, data, fds)

    def receive(self) -> sockets.Received:
        """Return the next packet, empty at the end of the stream."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), "the attacher does not answer"
        return sockets.receive(self.socket, LARGEST)

    def call(self, method: Method[Any], *fds: int) -> tuple[Any, tuple[int, ...]]:
        """Return the result and the descriptors that came with it; raises what the attacher answers."""
        _, packet = self.connection.request(method, fds)
        self.send(packet.data, packet.fds)
        received = self.receive()
        assert received.data, "the attacher has hung up"
        (response,) = self.connection.receive(Packet(received.data, received.fds)).responses
        return response.value(), received.fds


class Attacher:
    """A running attacher, by its control socket."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control

    @contextmanager
    def client(self, identity: Identity, worker: int | None = None) -> Iterator[AttacherClient]:
        """Give a connection that asks as ``identity``, of that worker."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            sockets.send(self.control, msgspec.msgpack.encode(Serve(identity, worker)), [theirs.fileno()])
        with ours:
            yield AttacherClient(ours)


@contextmanager
def attacher() -> Iterator[Attacher]:
    """Give an attacher, which ends with the test."""
    needs_bpf()
    control = start()
    if control is None:
        pytest.skip("we lack capabilities that the attacher needs")
    with control:
        yield Attacher(control)


def close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
