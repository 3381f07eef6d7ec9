"""What thread.* takes."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.thread import Resume, Signal, SignalChange, Stop

from .declared import params


def test_stopping_waits_unless_told() -> None:
    assert params(Stop, engine=1).wait is True
    assert params(Stop, engine=1, tid=5, wait=False, timeout_ms=0).timeout_ms == 0


@pytest.mark.parametrize("action", ["run", "syscall", "block_step", "step"])
def test_a_thread_goes_on_in_four_ways(action: str) -> None:
    assert params(Resume, engine=1, action=action).action == action


@pytest.mark.parametrize("members", [{"action": "fly"}, {"signal": 9}, {"signal": {"drop": True}}, {"tid": 0}])
def test_nothing_else_is_taken(members: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Resume, engine=1, **members)


def test_a_signal_may_be_dropped_or_replaced() -> None:
    assert params(Resume, engine=1, signal={"deliver": False}).signal == SignalChange(deliver=False)
    assert params(Resume, engine=1, signal={"number": "USR1"}).signal == SignalChange(number="USR1")


@pytest.mark.parametrize("signal", [0, 65, "", "S" * 17, None])
def test_a_signal_has_a_name_or_a_number(signal: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Signal, pid=5, tid=5, signal=signal)


def test_a_signal_is_for_the_process_unless_a_thread_is_named() -> None:
    assert params(Signal, pid=5, signal="SIGTERM").tid is None
    assert params(Signal, pid=5, tid=6, signal="SIGTERM").tid == 6
