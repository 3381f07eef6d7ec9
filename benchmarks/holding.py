"""How long it takes to stop a thread and to let it go on, as a client sees it."""

from __future__ import annotations

import json
from pathlib import Path
from socket import socket

from benchmarks.asking import Times, asking, times
from benchmarks.daemon import connected, daemon, request_of
from benchmarks.flood import Flood, Mode
from benchmarks.placing import PLACINGS, Placing, placed
from benchmarks.rounds import Row, alone
from utraced.api.engine import Attach
from utraced.api.thread import Resume, Stop

AIM_US = "150"
LONG_MS = 600_000
TARGETS: dict[str, Mode] = {"a busy thread": "time", "a thread that sleeps": "idle"}


def cost_of_holding(program: Path, folder: Path, *, exchanges: int, rounds: int) -> list[Row]:
    """Measure thread.stop, which replies when the thread is held, and thread.resume, one after the other."""
    rows = []
    for placing in PLACINGS:
        for name, mode in TARGETS.items():
            found = [_one(program, folder, mode, placing, exchanges) for _ in range(rounds)]
            title = f"stop and resume {name}, {placing}"
            rows.append(alone(title, [one.median for one in found], "µs", AIM_US))
            rows.append(alone(f"{title}: p99", [one.p99 for one in found], "µs"))
    return rows


def _one(program: Path, folder: Path, mode: Mode, placing: Placing, exchanges: int) -> Times:
    with (
        placed(placing),
        daemon(folder) as (path, _),
        Flood(program, mode, threads=1, amount=LONG_MS) as flood,
        connected(path) as client,
    ):
        if mode == "time":
            flood.begin()
        engine = client.call(Attach(pid=flood.pid, events=("death",)))
        tid = engine.threads[-1].tid
        stop, resume = (
            request_of(method)
            for method in (Stop(engine=engine.engine, tid=tid), Resume(engine=engine.engine, tid=tid))
        )
        with socket(fileno=client.fileno()) as sock:
            exchange_stop, exchange_resume = asking(sock, stop, _held), asking(sock, resume)

            def both() -> None:
                exchange_stop()
                exchange_resume()

            try:
                return times(both, exchanges)
            finally:
                sock.detach()
                flood.kill()


def _held(reply: memoryview) -> bool:
    """Tell whether a reply says that the thread is held, which is what is measured."""
    if b'"held"' not in bytes(reply):
        raise RuntimeError(f"the thread is not held: {json.loads(bytes(reply))}")
    return True
