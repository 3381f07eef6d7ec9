"""Processes that are held for a recorded trace whose client is far behind."""

from __future__ import annotations

import errno
import os
import signal
from time import monotonic_ns
from typing import Any

import pytest

from tests.children import child, ended
from tests.kernel.by_hand import Hand, by_hand
from tests.kernel.targets import Target, target
from tests.live.machine import free, state, tracer
from utraced.api import engine
from utraced.api import session as api
from utraced.errors import LimitExceeded, PermissionDenied
from utraced.handlers import braking
from utraced.handlers.braking import Brake
from utraced.handlers.deadlocks import check_deadlock
from utraced.observing.selection import Selection
from utraced.observing.trace import Trace


def brake(hand: Hand) -> Brake:
    trace = Trace(hand.session, Selection(), block=True)
    trace.id = hand.session.new_id()
    return Brake(hand.session, trace)


def held(hand: Hand, found: Target) -> None:
    hand.until(lambda: state(found.pid) == "t", "a stop")


def test_those_that_are_seen_are_held_and_let_go() -> None:
    with target(lambda _: 3) as one, target(lambda _: 4) as other, target(lambda _: 5) as third, by_hand() as hand:
        ours = brake(hand)
        ours.hold({one.pid: monotonic_ns(), other.pid: monotonic_ns()})
        ours.hold({one.pid: monotonic_ns()})
        held(hand, one)
        held(hand, other)
        assert tracer(third.pid) == 0
        one.go()
        ours.release()
        ours.release()
        hand.until(lambda: free(other.pid) and tracer(one.pid) == 0, "both free")
        assert os.waitstatus_to_exitcode(os.waitpid(one.pid, 0)[1]) == 3
        assert hand.events() == []


def test_others_are_told_who_holds() -> None:
    with target() as found, by_hand() as hand:
        other = hand.another(2)
        hand.session.fellows[2] = other
        ours = brake(hand)
        ours.hold({found.pid: monotonic_ns()})
        held(hand, found)
        assert [(entry.session, entry.engines, entry.holdings) for entry in hand.call(api.List()).sessions] == [
            (1, 0, (api.Holding(pid=found.pid, trace=ours.trace.id, held=(found.pid,)),)),
            (2, 0, ()),
        ]
        attached = hand.call(engine.Attach(pid=found.pid), session=other)
        (thread,) = attached.threads
        assert [holder.session for holder in thread.holders] == [1]
        ours.release()
        assert hand.call(engine.Info(engine=attached.engine), session=other).threads[0].holders == ()
        other.close("session_closed", monotonic_ns())


def test_one_that_is_killed_meanwhile_is_forgotten() -> None:
    with target() as found, by_hand() as hand:
        ours = brake(hand)
        ours.hold({found.pid: monotonic_ns()})
        held(hand, found)
        os.kill(found.pid, signal.SIGKILL)
        hand.ended(found.pid)
        ours.release()
        assert hand.core.processes == {}


def test_nobody_is_held_in_place_of_one_that_has_ended() -> None:
    with target() as found, by_hand() as hand:
        ours = brake(hand)
        ours.hold({found.pid: 0, ended(): monotonic_ns()})  # seen long before it started; ended since
        assert hand.core.processes == {}
        assert free(found.pid)


def test_the_client_and_the_daemon_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def check(pid: int, session: Any) -> None:
        asked.append(pid)
        check_deadlock(pid, session)

    monkeypatch.setattr(braking, "check_deadlock", check)
    with child() as kin, by_hand() as hand:
        hand.session.kin = frozenset({kin})
        ours = brake(hand)
        seen = {kin: monotonic_ns(), os.getpid(): monotonic_ns()}
        ours.hold(seen)
        ours.hold(seen)
        assert asked == [kin, os.getpid()]  # not again and again
        assert hand.core.processes == {}
        hand.session.kin = frozenset()
        ours.release()
        ours.hold(seen)
        hand.until(lambda: state(kin) == "t", "a stop of who may be held now")
        ours.release()
        hand.until(lambda: free(kin), "it is free")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        LimitExceeded("so many threads", limit="tracees", value=1),
        PermissionDenied("it is traced", reason="traced_by_other"),
    ],
)
def test_who_cannot_be_held_runs_on(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with target() as found, by_hand() as hand:

        def attach(*_: object) -> None:
            raise error

        ours = brake(hand)
        with monkeypatch.context() as patched:
            patched.setattr(hand.tracer, "attach", attach)
            ours.hold({found.pid: monotonic_ns()})
        assert free(found.pid)
        ours.release()
        ours.hold({found.pid: monotonic_ns()})
        held(hand, found)
        ours.release()
