"""A mark in the stream, and who is connected."""

from __future__ import annotations

import os

from tests.live.conftest import Programs
from tests.live.listening import Listener, told
from utracectl.client import Client
from utraced.api import engine, events, session, thread


def test_the_mark_comes_behind_what_was_told_before_and_before_its_reply(programs: Programs, client: Client) -> None:
    heard = Listener(client)
    with told(programs("told"), "call") as target:
        number = client.call(engine.Attach(pid=target.pid)).engine
        client.call(thread.Stop(engine=number, wait=False))
        heard.hear(events.Stop)
        for token in ("first", 2, None):
            client.call(session.Sync(token=token))
            heard.seen += client.poll(0)
            assert heard.next() == heard.seen[-1]
            assert isinstance(heard.seen[-1], events.Sync)
            assert heard.seen[-1].token == token
        client.call(engine.Detach(engine=number))


def test_a_session_sees_itself_and_what_it_holds(programs: Programs, client: Client) -> None:
    with told(programs("told"), "call") as target:
        number = client.call(engine.Attach(pid=target.pid, hold=True)).engine
        [entry] = client.call(session.List()).sessions
        assert (entry.peer.pid, entry.engines, entry.traces) == (os.getpid(), 1, 0)
        assert entry.holdings == (session.Holding(pid=target.pid, engine=number, held=(target.pid,)),)
        client.call(engine.Detach(engine=number))
        [entry] = client.call(session.List()).sessions
        assert (entry.engines, entry.holdings) == (0, ())
