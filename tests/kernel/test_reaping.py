"""Zombies, and when they are gone."""

from __future__ import annotations

import os
import select
import signal

import pytest

from tests.children import child, ended, zombie
from tests.kernel.by_hand import by_hand
from tests.kernel.targets import target
from tests.live.machine import state, until
from utraced.api import engine, events
from utraced.errors import NoSuchProcess
from utraced.kernel.memory import TargetMemory
from utraced.kernel.reaping import Reaping
from utraced.tracing.process import Process


@pytest.fixture
def reaping():
    made = Reaping()
    yield made
    made.close()


def process(pid):
    return Process(pid, TargetMemory(pid))


def readable(found):
    return bool(select.select([found], [], [], 0)[0])


def test_one_that_is_gone_already_is_not_waited_for(reaping):
    assert not reaping.add(process(ended()))
    assert not reaping


def test_a_zombie_is_waited_for_until_it_is_reaped(reaping):
    with zombie() as pid:
        waiting = process(pid)
        assert reaping.add(waiting)
        assert reaping.take([waiting]) == []
        assert not readable(reaping)
        assert reaping
    # Linux tells it since 6.9; older kernels are asked.
    until(lambda: readable(reaping) or os.uname().release < "6.9", "the hang-up")
    assert reaping.take([waiting]) == [waiting]
    assert not reaping
    assert not readable(reaping)


def test_one_that_nobody_wants_to_hear_of_any_more_is_forgotten(reaping):
    with zombie() as pid:
        reaping.add(process(pid))
        assert reaping.take([]) == []
        assert not reaping


def test_one_that_still_runs_is_no_different(reaping):
    with child() as pid:
        waiting = process(pid)
        reaping.add(waiting)
        assert reaping.take([waiting]) == []


def parent(side):
    """Have a child, say which, and wait for it only when told to."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    side.say(b"<%d>" % pid)
    side.wait()
    os.waitpid(pid, 0)
    side.wait()


def child_of(found):
    found.go()
    found.hear(b">")
    text = found._heard
    return int(text[text.index(b"<") + 1 : text.index(b">")])


def test_a_reaped_process_is_told_last():
    with target(parent) as found, by_hand() as hand:
        pid = child_of(found)
        number = hand.call(engine.Attach(pid=pid, events=("reap", "exit", "death"))).engine
        os.kill(pid, signal.SIGTERM)
        hand.ended(pid)
        hand.tracer.look_for_reaped()
        assert hand.kinds() == ["exit", "death"]
        info = hand.call(engine.Info(engine=number))
        assert (info.status.signal, info.threads) == ("SIGTERM", ())
        assert [each.engine for each in hand.call(engine.List()).engines] == [number]
        with pytest.raises(NoSuchProcess):
            hand.call(engine.Attach(pid=pid))
        found.go()
        until(lambda: state(pid) == "", "the parent has waited")
        hand.tracer.look_for_reaped()
        assert hand.kinds() == ["exit", "death", "reap", "detached"]
        assert hand.told(events.Detached)[0].status.signal == "SIGTERM"
        assert not hand.tracer.reaping


def test_a_session_that_ends_waits_for_nobody():
    with target(parent) as found, by_hand() as hand:
        pid = child_of(found)
        hand.call(engine.Attach(pid=pid, events=("reap",)))
        os.kill(pid, signal.SIGTERM)
        hand.ended(pid)
        assert hand.tracer.reaping
        hand.session.close("session_closed", 1)
        assert not hand.core.unreaped
        hand.tracer.look_for_reaped()
        assert not hand.tracer.reaping


def test_one_that_is_reaped_with_its_end_is_told_at_once():
    # The tracer is the parent here: it has waited when it tells of the death.
    with target(lambda _: 3) as found, by_hand() as hand:
        hand.call(engine.Attach(pid=found.pid, events=("reap", "death")))
        found.go()
        hand.ended(found.pid)
        assert hand.kinds() == ["death", "reap", "detached"]
