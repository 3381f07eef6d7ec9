"""``utracectl events``: engines that only tell, and their events as they come."""

from __future__ import annotations

import select
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from utracectl.client import Client, ConnectionEnded, connect
from utracectl.exit_codes import ERROR, OK
from utracectl.messages import error_text, say
from utracectl.output import Output
from utracectl.signals import ENDING, Signals
from utraced.api.engine import Attach, Detach
from utraced.errors import Gone, UtracedError

if TYPE_CHECKING:
    from utraced.api.engine import EventName

STDOUT = 1


class _Head(Struct):
    """What of an event must be known to know when all is over."""

    kind: str
    engine: int | None = None
    child_engine: int | None = None


class Watch:
    """The engines of one run, and where their events go."""

    def __init__(self, client: Client, output: Output) -> None:
        self._client = client
        self._output = output
        self._engines: set[int] = set()
        self._ended: set[int] = set()
        self._head = Decoder(_Head)
        self._failed = False

    def run(self, pids: Sequence[int], events: Sequence[EventName], *, follow: bool) -> int:
        """Attach to processes and write their events until the end; returns the exit status."""
        signals = Signals()
        try:
            for pid in dict.fromkeys(pids):
                self._attach(pid, events, follow=follow)
            self._follow(signals)
        except ConnectionEnded as error:
            with suppress(ConnectionEnded):
                self._write(self._client.raw_events(0))
            if not self._engines:
                raise
            say(f"{error}: the events end here")
            return ERROR
        return ERROR if self._failed or self._output.failed else OK

    def _attach(self, pid: int, events: Sequence[EventName], *, follow: bool) -> None:
        """Attach to a process; one that refuses is told of, and the others go on."""
        try:
            engine = self._client.call(Attach(pid=pid, events=tuple(events), follow=follow)).engine
        except UtracedError as error:
            say(error_text(error))
            self._failed = True
        else:
            self._engines.add(engine)

    def _follow(self, signals: Signals) -> None:
        """Write events until all engines have ended, nobody reads them, or a signal asks for the end."""
        poll = select.poll()
        poll.register(self._client, select.POLLIN)
        poll.register(signals, select.POLLIN)
        poll.register(STDOUT, 0)
        self._write(self._client.raw_events(0))
        while self._engines and not self._output.failed:
            for fd, _ in poll.poll():
                if fd == signals.fileno():
                    if signals.taken() & ENDING:
                        self._let_go()
                elif fd == self._client.fileno():
                    self._write(self._client.raw_events(0))
                else:
                    raise BrokenPipeError

    def _write(self, events: list[Raw]) -> None:
        """Write events, and note the engines that come and go with them."""
        if events:
            self._output.write(b"".join([bytes(event) + b"\n" for event in events]))
        for event in events:
            try:
                head = self._head.decode(event)
            except DecodeError:
                continue
            if head.kind == "detached" and head.engine is not None:
                self._ended.add(head.engine)
            elif head.child_engine is not None:
                self._engines.add(head.child_engine)
        self._engines -= self._ended
        self._ended.clear()

    def _let_go(self) -> None:
        """End all engines; what they have told until then is written."""
        while self._engines:
            try:
                self._client.call(Detach(engine=self._engines.pop()))
            except Gone:
                continue
            finally:
                self._write(self._client.raw_events(0))


def watch(pids: Sequence[int], events: Sequence[EventName], *, follow: bool, host: str | None = None) -> int:
    """Print the events of processes; returns the exit status."""
    with connect(json=True, host=host, notice=say) as client:
        return Watch(client, Output(STDOUT, "stdout", what="output")).run(pids, events, follow=follow)
