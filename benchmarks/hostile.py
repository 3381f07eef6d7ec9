"""Hostile packets: mutations of valid ones, in both encodings, for a given time, beside a client that asks for hello.

Nothing here is a ratio: the daemon must live on, answer the other client throughout, and neither its memory nor its
descriptors may grow.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from benchmarks.daemon import connected, daemon
from benchmarks.rounds import Row, alone
from utraced.api.daemon import Hello

METHODS = (
    ("daemon.hello", {"client": "x"}),
    ("process.list", {"limit": 3}),
    ("process.info", {"pid": 1, "start_time": 5}),
    ("process.maps", {"pid": 1, "as": "fd"}),
    ("engine.attach", {"pid": 999_999, "events": {"exec": "hold"}, "hold": True}),
    ("engine.set_syscalls", {"engine": 1, "entry": {"set": ["read", "%file", 3]}}),
    ("thread.resume", {"engine": 1, "tid": 5, "action": "step", "signal": {"number": "SIGUSR1"}}),
    ("memory.read", {"pid": 1, "address": "0x7fff0000", "size": 8, "fd": 0}),
    ("trace.start", {"pid": 999_999, "syscalls": ["openat"], "strings": 32}),
    ("session.sync", {"token": "t"}),
    ("rpc.discover", {"family": "engine"}),
    ("$/cancelRequest", {"id": 1}),
)
KEPT = 64
"""Packets sent on one connection before the next is opened."""
WARM, PAUSE = 2.0, 0.002
"""Seconds of attack before what counts, and between questions."""
SETTLING, QUIET = 20.0, 1.0
"""Seconds to wait at most until the descriptors are the same for so many."""
MORE_KIB, MORE_FDS = 16_384, 8
"""What a daemon may have more afterwards: the allocator's slack, a connection that is just closing."""


def packets(chance: random.Random) -> Iterator[bytes]:
    """Give valid requests and batches with bytes changed, cut out, repeated and put together, without end."""
    encodings = (msgspec.json.encode, msgspec.msgpack.encode)
    while True:
        requests = [
            {"jsonrpc": "2.0", "id": chance.choice([1, "a", None, 1.5]), "method": method, "params": params}
            for method, params in chance.choices(METHODS, k=chance.choice([1, 1, 1, 3, 101]))
        ]
        data = bytearray(chance.choice(encodings)(requests[0] if len(requests) == 1 else requests))
        for _ in range(chance.choice([0, 1, 1, 2, 5, 20])):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    del data[at : at + chance.randrange(1, 9)]
                case 2:
                    data[at:at] = data[at : at + chance.randrange(1, 40)]
                case 3:
                    data[at:at] = chance.choice([b"[" * 3000, b"\x91" * 3000, b"9" * 400, b"\\ud800", b"\xff\xc7"])
                case _:
                    data[at:at] = chance.randbytes(chance.randrange(1, 9))
        yield bytes(data[:250_000]) or b"{}"


def attack(path: Path, seconds: float, seed: int) -> int:
    """Send packets to the daemon at ``path`` for ``seconds``; return how many."""
    stream, sent, end = packets(random.Random(seed)), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(path))
            connection.setblocking(False)
            for _ in range(KEPT):
                fds = [connection.fileno()] * random.Random(sent).choice([0, 0, 0, 1, 16])
                # The daemon may close a connection, or not read for a while; a packet may be too large to be sent.
                with suppress(OSError):
                    socket.send_fds(connection, [next(stream)], fds)
                    sent += 1
                with suppress(OSError):
                    while connection.recv(300_000):
                        pass
    return sent


def hostile(folder: Path, *, seconds: float) -> list[Row]:
    """Attack a daemon from a child and ask it for hello meanwhile; return what was seen.

    Raises RuntimeError where it grew or died, and what the client raises where it did not answer.
    """
    with daemon(folder) as (path, pid):
        # What is loaded and cached is not growth.  It is another's: one's own packets have to be waited for.
        os.waitpid(_attacker(path, WARM, 0), 0)
        before = _settled(pid)
        waits = _asked_beside(path, seconds)
        after = _settled(pid)
    if after[0] > before[0] + MORE_KIB or after[1] > before[1] + MORE_FDS:
        raise RuntimeError(f"the daemon grew from {before} to {after} (KiB resident, descriptors)")
    waits.sort()
    return [
        alone("hello beside hostile packets", waits, "µs"),
        alone("memory after them, to that before", [after[0] / before[0]], ""),
    ]


def _attacker(path: Path, seconds: float, seed: int) -> int:
    """Return the pid of a child that attacks; it fails where it could not send a packet."""
    child = os.fork()
    if child == 0:
        os._exit(0 if attack(path, seconds, seed) else 1)
    return child


def _asked_beside(path: Path, seconds: float) -> list[float]:
    """Ask for hello until a child has done with its attack; return the microseconds of each answer."""
    child = _attacker(path, seconds, 1)
    waits: list[float] = []
    with connected(path) as client:
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            started = time.monotonic()
            client.call(Hello(), timeout=10)
            waits.append((time.monotonic() - started) * 1e6)
            time.sleep(PAUSE)
    if ended[1] != 0:
        raise RuntimeError("the attack failed: it could not send a packet")
    return waits


def _settled(pid: int) -> tuple[int, int]:
    """Return a process's state once its descriptors stay the same: connections that were left take a moment to end."""
    state, since = _state(pid), time.monotonic()
    end = since + SETTLING
    while time.monotonic() < min(end, since + QUIET):
        time.sleep(0.05)
        now = _state(pid)
        if now[1] != state[1]:
            since = time.monotonic()
        state = now
    return state


def _state(pid: int) -> tuple[int, int]:
    """Return a process's resident memory in KiB and how many descriptors it has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]), len(os.listdir(f"/proc/{pid}/fd"))
