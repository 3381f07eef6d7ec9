from __future__ import annotations

import os
import resource
import signal
import socket
import struct
from contextlib import suppress

from tests.children import isolated
from tests.worker.daemon import PATIENCE
from utraced.broker.waiting import MOST, Waiting


def test_each_user_has_a_turn() -> None:
    waiting = Waiting()
    socks = [socket.socket() for _ in range(4)]
    for uid, sock in zip((1, 1, 1, 2), socks, strict=True):
        waiting.add(uid, sock, "here")
    assert waiting
    assert [[each.sock for each in waiting.turn()] for _ in range(4)] == [
        [socks[0], socks[3]],
        [socks[1]],
        [socks[2]],
        [],
    ]
    assert not waiting
    for sock in socks:
        sock.close()


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE)
    return ours, theirs


def test_more_than_may_wait_are_closed() -> None:
    def fill() -> bytes:
        waiting = Waiting()
        ours, theirs = pair()
        for _ in range(MOST):
            waiting.add(1, socket.socket(), "here")
        waiting.add(1, theirs, "here")
        waiting.leave()
        assert len(waiting.turn()) == 1
        return ours.recv(1)

    assert isolated(fill) == b""


def test_what_is_closed_keeps_nobody_waiting() -> None:
    """In it lies a connection that waits for an hour, when it is closed, for what was sent to be taken."""

    def close() -> bytes:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        ours, theirs = pair()
        server = socket.create_server(("127.0.0.1", 0))
        lingering = socket.create_connection(server.getsockname())
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
        lingering.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                lingering.send(bytes(1 << 16))
        socket.send_fds(ours, [b"?"], [lingering.fileno()])
        lingering.close()
        waiting = Waiting()
        waiting.drop(theirs)
        waiting.leave()
        assert theirs.fileno() == -1
        with suppress(ConnectionResetError):
            return ours.recv(1)
        return b""

    assert isolated(close) == b""


def test_its_children_keep_nothing_else() -> None:
    def close() -> bytes:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        reading, writing = os.pipe()
        waiting = Waiting()
        for _ in range(3):
            waiting.drop(socket.socket())
            waiting.leave()
        os.close(writing)
        return os.read(reading, 1)

    assert isolated(close) == b""


def test_connections_are_closed_where_no_descriptor_is_left() -> None:
    def close() -> list[int]:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        waiting = Waiting()
        most = max(int(name) for name in os.listdir("/proc/self/fd")) + 8
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        filled: list[socket.socket] = []
        for _ in range(3):
            with suppress(OSError):
                while True:
                    filled.append(socket.socket())
            for sock in filled:
                waiting.drop(sock)
            waiting.leave()
        return [sock.fileno() for sock in filled]

    assert set(isolated(close)) == {-1}
