"""``status``: who is connected to the daemon, and what each session holds."""

from __future__ import annotations

import pwd
from collections.abc import Iterator

from utracectl import VERSION
from utracectl.client import Client, connect
from utracectl.exit_codes import OK
from utracectl.messages import say, terminal_text
from utracectl.showing import print_json, print_line
from utraced.api import session
from utraced.api.daemon import Hello
from utraced.api.session import Holding, SessionEntry

MOST_HOLDINGS = 100
"""As many of a session's processes the daemon tells of."""


def show_status(*, json: bool, host: str | None = None) -> int:
    """Print the sessions that the daemon tells of, ours among them, or a JSON list of them."""
    with connect(host=host, notice=say) as client:
        own = client.call(Hello(client=f"utracectl {VERSION}")).session
        sessions = list(_sessions(client))
        if client.worker is not None:
            say("no daemon is running: each utracectl has a private worker, and this one's is what you see")
    if json:
        print_json({"sessions": sessions})
        return OK
    for line in status_lines(sessions, own=own, names=host is None):
        print_line(line)
    return OK


def status_lines(sessions: list[SessionEntry], *, own: int, names: bool) -> Iterator[str]:
    """Yield a line for each session, and below it one for each process that it holds on to.

    ``own`` is the session that asks.  ``names``: users are those of this machine, and are shown by name.
    """
    yield f"{'SESSION':>7} {'USER':<12} {'PID':>7} {'ENGINES':>7} {'TRACES':>6} {'QUEUED':>9} CLIENT"
    for entry in sessions:
        user = _user(entry.peer.uid) if names else str(entry.peer.uid)
        client = " ".join(filter(None, [entry.command, f"({entry.client})" if entry.client else ""]))
        mine = ", which asks" if entry.session == own else ""
        yield (
            f"{entry.session:>7} {user:<12} {entry.peer.pid:>7} {entry.engines:>7} {entry.traces:>6} "
            f"{entry.queued:>9,} {terminal_text(client)}{mine}"
        )
        for holding in entry.holdings:
            yield f"{'':>7} {holding_text(holding)}"
        if len(entry.holdings) == MOST_HOLDINGS:
            yield f"{'':>7} …"


def holding_text(holding: Holding) -> str:
    """Return what is held of one process."""
    text = f"process {holding.pid}"
    if holding.engine is not None:
        text += f", engine {holding.engine}"
    if holding.trace is not None:
        text += f", trace {holding.trace}"
    if holding.held:
        text += f", holds {' '.join(map(str, holding.held))}"
    return text


def _sessions(client: Client) -> Iterator[SessionEntry]:
    """Yield all sessions, page by page."""
    cursor = None
    while True:
        page = client.call(session.List(cursor=cursor))
        yield from page.sessions
        cursor = page.next
        if cursor is None:
            return


def _user(uid: int) -> str:
    """Return a user's name, the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
