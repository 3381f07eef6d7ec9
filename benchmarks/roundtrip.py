"""What a request and its reply cost: of the daemon, of an echo in C over the same kind of socket, and of others.

Every client sends bytes that were prepared and looks at nothing but where the reply ends, so the difference is the
server's; one more row shows what the typed client adds.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socket

from benchmarks.asking import Exchange, Times, asking, times
from benchmarks.daemon import connected, daemon, request_of
from benchmarks.dbus import NEEDS as DBUS
from benchmarks.dbus import bus
from benchmarks.flood import Flood
from benchmarks.gdbserver import NEEDS as GDBSERVER
from benchmarks.gdbserver import gdbserver
from benchmarks.http_json import http
from benchmarks.placing import placed
from benchmarks.programs import compile_peer, running
from benchmarks.rounds import Row, alone, compare, interleave
from utraced.api.daemon import Hello
from utraced.api.engine import Attach
from utraced.api.registers import Read

ECHO = "C echo"
AIMS = {"daemon.hello": "2", "registers.read": "2"}


def cost_of_round_trips(flood: Path, folder: Path, *, exchanges: int, rounds: int) -> list[Row]:
    """Compare the servers, all on one CPU with their client; those whose program is missing are left out, and told."""
    with placed("pinned"), contextlib.ExitStack() as stack:
        asked = _servers(flood, folder, stack)
        found: dict[str, list[Times]] = {name: [] for name in asked}

        def measure(name: str) -> float:
            found[name].append(times(asked[name], exchanges))
            return found[name][-1].median

        medians = interleave({name: partial(measure, name) for name in asked}, rounds)
    rows = compare(medians, ECHO, prefix="round trip", unit="µs", aims=AIMS)
    return rows + [alone(f"round trip, p99: {name}", [one.p99 for one in found[name]], "µs") for name in asked]


def _servers(flood: Path, folder: Path, stack: contextlib.ExitStack) -> dict[str, Exchange]:
    """Start all servers and return an exchange with each."""
    peer = compile_peer(folder)
    asked = stack.enter_context(_echo(folder, peer)) | stack.enter_context(_utraced(flood, folder))
    if _there(DBUS):
        asked |= stack.enter_context(bus(folder, peer))
    if _there(GDBSERVER):
        asked |= stack.enter_context(gdbserver(flood))
    return asked | stack.enter_context(http(folder))


def _there(program: str) -> bool:
    if shutil.which(program) is not None:
        return True
    print(f"benchmarks: {program} is not compared: apt install {program}", file=sys.stderr)
    return False


@contextlib.contextmanager
def _echo(folder: Path, peer: Path) -> Iterator[dict[str, Exchange]]:
    path = folder / "echo.sock"
    with running([peer, "echo", path]), socket(AF_UNIX, SOCK_SEQPACKET) as sock:
        sock.connect(str(path))
        yield {ECHO: asking(sock, request_of(Hello()))}


@contextlib.contextmanager
def _utraced(flood: Path, folder: Path) -> Iterator[dict[str, Exchange]]:
    """Yield requests of a session that holds an idle process."""
    with daemon(folder) as (path, _), Flood(flood, "idle", threads=1, amount=0) as target, connected(path) as client:
        hello = Hello()
        engine = client.call(Attach(pid=target.pid, hold=True, events=("death",))).engine
        read = Read(engine=engine, tid=target.pid)
        # Whatever the daemon has to tell of the process has come before this.
        client.call(read)
        with socket(fileno=client.fileno()) as sock:
            try:
                yield {
                    "daemon.hello": asking(sock, request_of(hello)),
                    "registers.read": asking(sock, request_of(read)),
                    "daemon.hello, typed client": lambda: _discard(client.call(hello)),
                }
            finally:
                sock.detach()


def _discard(_result: object) -> None:
    """Take a result for nothing."""
