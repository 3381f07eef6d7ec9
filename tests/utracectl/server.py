"""A server that answers as a test tells it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

HELLO = {
    "server": "utraced",
    "version": "0",
    "protocol": 1,
    "session": 1,
    "boot_id": "b",
    "peer": {"pid": 1, "uid": 0, "gid": 0},
    "target_user": "root",
    "access": "full",
    "tracer_pid": 1,
    "pid_namespace": 1,
    "limits": {
        "max_packet": 204800,
        "max_batch": 100,
        "max_values": 5000,
        "max_fds": 16,
        "max_read": 1,
        "max_queue": 1,
        "max_waiting": 1,
        "max_sessions": 1,
        "max_tracees": 1,
        "stall_seconds": None,
    },
    "features": {},
}

Answer = Callable[[dict[str, Any]], "list[Any] | None"]


class Server:
    """Listens at a path; ``answer`` takes each request and returns the packets to send, None to hang up.

    A packet is a value, to be sent in the encoding of the request, or bytes, to be sent as they are.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self.requests: list[dict[str, Any]] = []
        self.fds: list[list[int]] = []
        self._answer = answer
        self._client: socket.socket | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and wait for the last client to hang up."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for fd in [fd for fds in self.fds for fd in fds]:
            os.close(fd)

    def hang_up(self) -> None:
        """End the connection of the client that is being served."""
        if self._client is not None:
            self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                self._client = client
                self._talk(client)
                self._client = None

    def _talk(self, client: socket.socket) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(client, 300_000, 16)
            except ConnectionResetError:
                return
            if not data:
                return
            codec = msgspec.json if data[:1] == b"{" else msgspec.msgpack
            request = codec.decode(data)
            self.requests.append(request)
            self.fds.append(fds)
            packets = self._answer(request)
            if packets is None:
                return
            for packet in packets:
                try:
                    client.send(packet if isinstance(packet, bytes) else codec.encode(packet))
                except BrokenPipeError:
                    return


def response(request: dict[str, Any], result: Any) -> dict[str, Any]:
    """Return the packet that answers a request."""
    return {"jsonrpc": "2.0", "id": request["id"], "result": result}


def event(**params: Any) -> dict[str, Any]:
    """Return the packet of an event."""
    return {"jsonrpc": "2.0", "method": "event", "params": params}
