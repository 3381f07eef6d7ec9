"""``utracectl step``: a thread's instructions, one by one."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from msgspec import Raw, Struct
from msgspec.json import Decoder

from utracectl.client import connect
from utracectl.engines import attached, stop_thread
from utracectl.exit_codes import ERROR, OK
from utracectl.messages import say
from utracectl.output import Output
from utracectl.signals import ENDING, Signals
from utraced.api.thread import Resume

if TYPE_CHECKING:
    from utracectl.client import Client

STDOUT = 1
PATIENCE_MS = 1000


class _Head(Struct):
    """What of an event must be known."""

    kind: str
    tid: int = 0
    pc: str | None = None


class Steps:
    """The steps of one thread, and where they are told."""

    def __init__(self, client: Client, output: Output, *, json: bool) -> None:
        self._client = client
        self._output = output
        self._json = json
        self._decoder = Decoder(_Head)
        self._signals = Signals()
        self._poll = select.poll()
        self._poll.register(self._client, select.POLLIN)
        self._poll.register(self._signals, select.POLLIN)

    def run(self, engine: int, tid: int, count: int) -> int:
        """Step ``count`` times, or until the thread ends, nobody reads any more, or a signal asks for the end."""
        for _ in range(count):
            self._client.call(Resume(engine=engine, tid=tid, action="step"))
            status = self._step(tid)
            if status is not None:
                return status
        return OK

    def _step(self, tid: int) -> int | None:
        """Wait for the end of a step and tell it; return the exit status where there is no more."""
        told = False
        while True:
            for event in self._client.raw_events(0):
                head = self._decoder.decode(event)
                if head.tid != tid:
                    continue
                if head.kind == "step":
                    self._tell(event, head)
                    return ERROR if self._output.failed else None
                if head.kind == "death":
                    say(f"thread {tid} has ended")
                    return ERROR
            ready = self._poll.poll(None if told else PATIENCE_MS)
            if not ready:
                say(f"thread {tid} is still in this instruction, a system call that waits: Ctrl-C lets it go")
                told = True
            if any(fd == self._signals.fileno() for fd, _ in ready) and self._signals.taken() & ENDING:
                return OK

    def _tell(self, event: Raw, head: _Head) -> None:
        self._output.write(bytes(event) + b"\n" if self._json else f"{head.pc}\n")


def step(pid: int, tid: int | None, count: int, *, json: bool, host: str | None = None) -> int:
    """Have a thread, by default the one that leads the process, take ``count`` steps, and print where each leads."""
    tid = tid or pid
    with connect(json=True, host=host) as client, attached(client, pid, events=("death",)) as engine:
        stop_thread(client, engine.engine, tid)
        steps = Steps(client, Output(STDOUT, "stdout", what="output"), json=json)
        return steps.run(engine.engine, tid, count)
