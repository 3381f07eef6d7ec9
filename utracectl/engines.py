"""An engine for as long as a verb needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from utracectl.exit_codes import ERROR
from utracectl.messages import Failure
from utraced.api.engine import Attach, Attached, Detach
from utraced.api.thread import Stop
from utraced.errors import Gone

if TYPE_CHECKING:
    from utracectl.client import Client
    from utraced.api.engine import EventName


class NotStopped(Failure):
    """A thread cannot be stopped now."""

    status = ERROR


@contextmanager
def attached(client: Client, pid: int, *, events: Sequence[EventName] = (), hold: bool = False) -> Iterator[Attached]:
    """Attach an engine to a process, and detach it at the end."""
    found = client.call(Attach(pid=pid, events=tuple(events), hold=hold))
    yield found
    # Where this is left by an error, the end of the connection does the same.
    with suppress(Gone):
        client.call(Detach(engine=found.engine))


def stop_thread(client: Client, engine: int, tid: int) -> None:
    """Hold one thread; raises ``NotStopped`` where it sleeps uninterruptibly, and what the daemon answers."""
    threads = client.call(Stop(engine=engine, tid=tid)).threads
    if not threads or threads[0].state != "held":
        raise NotStopped(
            f"thread {tid} cannot be stopped: it sleeps in the kernel, waiting for a disk or another machine; try again"
        )
