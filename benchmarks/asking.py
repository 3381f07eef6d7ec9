"""Request and reply over a stream or packet socket, prepared before, so that the time is the server's."""

from __future__ import annotations

import time
from collections.abc import Callable
from socket import socket
from typing import NamedTuple

Exchange = Callable[[], None]
"""Send a request and wait for its reply."""
LARGEST = 1 << 18
WARMING = 50


class Times(NamedTuple):
    """Microseconds of one exchange."""

    median: float
    p99: float


def asking(sock: socket, request: bytes, whole: Callable[[memoryview], bool] = bool) -> Exchange:
    """Return the exchange of ``request`` for a reply; ``whole`` tells whether all of it is there.

    The exchange raises ``ConnectionError`` where the server hangs up.
    """
    buffer = memoryview(bytearray(LARGEST))
    sock.setblocking(True)

    def exchange() -> None:
        sock.send(request)
        size = 0
        while True:
            got = sock.recv_into(buffer[size:] if size else buffer)
            if not got:
                raise ConnectionError("the server hung up")
            size += got
            if whole(buffer[:size]):
                return

    return exchange


def times(exchange: Exchange, count: int) -> Times:
    """Carry out ``count`` exchanges, after some to warm up."""
    for _ in range(WARMING):
        exchange()
    taken = []
    for _ in range(count):
        started = time.perf_counter_ns()
        exchange()
        taken.append(time.perf_counter_ns() - started)
    return summary(taken)


def summary(nanoseconds: list[int]) -> Times:
    """Return the median and the 99th of 100."""
    ordered = sorted(nanoseconds)
    count = len(ordered)
    return Times(ordered[count // 2] / 1e3, ordered[count * 99 // 100] / 1e3)
