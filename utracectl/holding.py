"""``utracectl hold``: a process that stands still for as long as we want."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from utracectl import VERSION
from utracectl.client import connect
from utracectl.engines import attached
from utracectl.exit_codes import ERROR, OK
from utracectl.messages import say, terminal_text
from utracectl.showing import print_json, print_line
from utracectl.signals import ENDING, Signals
from utraced.api import events, session
from utraced.api.daemon import Hello

if TYPE_CHECKING:
    from utracectl.client import Client
    from utraced.api.engine import Attached

STDIN = 0


def hold(pid: int, *, json: bool, host: str | None = None) -> int:
    """Hold all threads of a process until Ctrl-C, or until stdin ends; says who else holds them."""
    with connect(host=host) as client:
        own = client.call(Hello(client=f"utracectl {VERSION}")).session
        signals = Signals()
        with attached(client, pid, events=("death",), hold=True) as found:
            if json:
                print_json(found)
            else:
                for line in held_lines(found, _others(client, found, own)):
                    print_line(line)
            sys.stdout.flush()
            return _wait(client, signals, pid)


def held_lines(found: Attached, others: dict[int, str]) -> Iterator[str]:
    """Yield what is to be said of a process that is held; ``others`` are the sessions that hold it too."""
    held = sum(thread.state == "held" for thread in found.threads)
    yield f"process {found.pid} is held: {held} {'thread' if held == 1 else 'threads'}"
    for thread in found.threads:
        if thread.state != "held":
            yield f"thread {thread.tid} will be held when it can be: it sleeps uninterruptibly"
        for holder in thread.holders:
            if holder.session in others:
                yield f"thread {thread.tid} is held by {others[holder.session]} too"


def _others(client: Client, found: Attached, own: int) -> dict[int, str]:
    """Return who the sessions are, by number, that hold a thread of the process besides us."""
    holding = {holder.session for thread in found.threads for holder in thread.holders} - {own}
    others = {number: f"session {number}" for number in holding}
    cursor = None
    while holding:
        page = client.call(session.List(cursor=cursor))
        for entry in page.sessions:
            if entry.session in others:
                client_name = f", {terminal_text(entry.client)}" if entry.client else ""
                who = f"process {entry.peer.pid} {terminal_text(entry.command or '')}".rstrip()
                others[entry.session] = f"session {entry.session} ({who}{client_name})"
        cursor = page.next
        if cursor is None:
            break
    return others


def _wait(client: Client, signals: Signals, pid: int) -> int:
    """Wait for the end; returns the exit status."""
    # In the background of a terminal, reading it would stop us with the process still held.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    poll = select.poll()
    poll.register(client, select.POLLIN)
    poll.register(signals, select.POLLIN)
    poll.register(STDIN, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == signals.fileno() and signals.taken() & ENDING:
                return OK
            if fd == STDIN and not _more(poll):
                return OK
            if fd == client.fileno():
                for event in client.poll(0):
                    if isinstance(event, events.Stop):
                        print_line(f"thread {event.tid} is held")
                        sys.stdout.flush()
                    elif isinstance(event, events.Death) and event.last:
                        say(f"process {pid} has ended")
                        return ERROR


def _more(poll: select.poll) -> bool:
    """Take what is there on stdin, which means nothing; return False where it has ended."""
    try:
        return bool(os.read(STDIN, 4096))
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno != errno.EIO:
            return False
        # A terminal that is not ours to read from: only signals can tell us to end.
        poll.unregister(STDIN)
        return True
