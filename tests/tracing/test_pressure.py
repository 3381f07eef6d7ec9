from __future__ import annotations

from typing import Any

import pytest

from tests.tracing.playbook import (
    FakeOwner,
    Playbook,
    cloned,
    dead,
    entering,
    exiting,
    interrupted,
    killed,
    leaving,
    signalled,
)
from utraced.tracing.actions import Wish


class SlowOwner(FakeOwner):
    """A session whose client may read slowly."""

    slow = False

    def congested(self) -> bool:
        return self.slow


class Slow(Playbook):
    """A playbook in which sessions may read slowly."""

    def owner(self, name: str) -> FakeOwner:
        return self.owners.setdefault(name, SlowOwner(len(self.owners) + 1))

    def slow(self, *names: str) -> None:
        for name in names:
            self.owner(name).slow = True  # type: ignore[attr-defined]

    def relieve(self, name: str) -> list[str]:
        self.owner(name).slow = False  # type: ignore[attr-defined]
        self.core.relieve(self.owner(name))
        return self.done()


@pytest.fixture
def play() -> Slow:
    return Slow()


def tracing(play: Slow, name: str = "T", **settings: Any) -> None:
    """Start a trace of process 10, which runs."""
    play.seize(10)
    play.trace(name, 10, **settings)
    play << interrupted(10)


def test_a_thread_whose_event_does_not_fit_is_restarted_when_it_does(play: Slow) -> None:
    play.running(10, A={"events": {"syscall_entry": "report"}})
    play.slow("A")
    assert play << entering(10) == ["A: syscall_entry 10 name=getpid"]
    assert play.relieve("A") == ["restart 10 syscall"]
    assert play << leaving(10) == ["restart 10 syscall"]


def test_a_thread_that_tells_a_slow_session_nothing_runs_on(play: Slow) -> None:
    play.running(10, 11, A={"events": {"signal": "report"}}, B={"events": {"syscall_entry": "report"}})
    play.slow("A")
    assert play << entering(10) == ["B: syscall_entry 10 name=getpid", "restart 10 syscall"]
    assert (play << signalled(11, 10))[1:] == []
    assert play << leaving(10) == ["restart 10 syscall"]
    assert play.relieve("A") == ["restart 11 syscall 10"]


def test_calls_of_a_trace_that_may_be_lost_hold_nothing_back(play: Slow) -> None:
    tracing(play)
    play.slow("T")
    assert play << entering(10) == ["restart 10 syscall"]
    assert (play << leaving(10))[1:] == ["restart 10 syscall"]
    assert (play << signalled(10, 10))[1:] == ["restart 10 syscall 10"]


def test_calls_of_a_trace_that_blocks_hold_their_thread_back(play: Slow) -> None:
    tracing(play, block=True)
    play.slow("T")
    assert play << entering(10) == ["restart 10 syscall"]
    assert len(play << leaving(10)) == 1
    assert play.relieve("T") == ["restart 10 syscall"]


def test_what_is_never_lost_holds_back_threads_of_any_trace(play: Slow) -> None:
    tracing(play)
    play.slow("T")
    assert (play << cloned(10, 11))[-1].startswith("T: clone 10")
    assert play << interrupted(11) == ["restart 11 syscall"]  # it has told nothing
    assert play.relieve("T") == ["restart 10 syscall"]


def test_of_several_slow_sessions_the_last_lets_it_go(play: Slow) -> None:
    play.running(10, A={"events": {"syscall_entry": "report"}}, B={"events": {"syscall_entry": "report"}})
    play.slow("A", "B")
    assert len(play << entering(10)) == 2
    assert play.relieve("A") == []
    assert play.relieve("B") == ["restart 10 syscall"]


def test_a_thread_held_by_an_engine_waits_for_that_too(play: Slow) -> None:
    made = play.running(10, A={"events": {"syscall_entry": "hold"}})
    play.slow("A")
    play << entering(10)
    assert play.relieve("A") == []
    assert play.resume(made["A"], 10, Wish.STEP) == ["restart 10 syscall"]


def test_a_resume_waits_for_the_client_to_read(play: Slow) -> None:
    made = play.running(10, A={"events": {"syscall_entry": "hold"}})
    play.slow("A")
    play << entering(10)
    assert play.resume(made["A"], 10, Wish.STEP) == []
    assert play.relieve("A") == ["restart 10 syscall"]


def test_a_thread_held_back_is_let_go_with_its_last_engine(play: Slow) -> None:
    made = play.running(10, A={"events": {"syscall_entry": "report"}})
    play.slow("A")
    play << entering(10)
    assert "detach 10" in play.detach(made["A"])
    assert play.relieve("A") == []


def test_who_attaches_meanwhile_need_not_wait(play: Slow) -> None:
    play.running(10, A={"events": {"syscall_entry": "report"}})
    play.slow("A")
    play << entering(10)
    engine = play.attach("B", 10, hold=True)
    assert play.done() == []
    assert not play.core.waiters
    assert play.relieve("A") == []
    assert play.resume(engine, 10)[-1] == "restart 10 syscall"


def test_sigkill_waits_for_nobody(play: Slow) -> None:
    play.running(10, A={"events": {"syscall_entry": "report", "exit": "report"}})
    play.slow("A")
    play << entering(10)
    assert (play << killed(10))[-1].startswith("restart 10")
    play << dead(10, signal="SIGKILL")
    assert play.relieve("A") == []


def test_the_last_stop_of_a_thread_is_held_back_too(play: Slow) -> None:
    play.running(10, A={"events": {"exit": "report"}})
    play.slow("A")
    assert not any(line.startswith("restart") for line in play << exiting(10))
    assert play.relieve("A") == ["restart 10 run"]


def test_a_thread_that_is_gone_is_forgotten(play: Slow) -> None:
    play.running(10, A={"events": {"syscall_entry": "report"}})
    play.slow("A")
    play << entering(10)
    play << dead(10, signal="SIGKILL")
    assert not play.core.held_back
    assert play.relieve("A") == []
