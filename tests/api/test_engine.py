"""What engine.* takes."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.engine import Attach, CallFilter, SetEvents, SetSyscalls

from .declared import params


def test_events_are_a_list_or_say_how_each_is_answered() -> None:
    assert params(Attach, pid=5, events=["exec", "signal"]).events == ("exec", "signal")
    assert params(Attach, pid=5, events={"exec": "hold"}).events == {"exec": "hold"}
    assert params(Attach, pid=5).events is None


@pytest.mark.parametrize("events", [["nothing"], {"exec": "stop"}, "exec", {"nothing": "hold"}])
def test_other_events_are_refused(events: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Attach, pid=5, events=events)


@pytest.mark.parametrize("pid", [0, -1, 4_194_305, 1.5, "5", True])
def test_a_pid_is_one(pid: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Attach, pid=pid)


def test_calls_are_names_numbers_and_classes() -> None:
    made = params(SetSyscalls, engine=1, entry={"set": ["read", 1, "%file"]}, exit={"enabled": False})
    assert made.entry == CallFilter(set=("read", 1, "%file"))
    assert made.exit == CallFilter(enabled=False)
    assert params(SetSyscalls, engine=1, entry={"add": "all"}).entry == CallFilter(add="all")


@pytest.mark.parametrize("entry", [{"set": "read"}, {"sets": []}, {"set": [""]}, {"set": ["a" * 65]}, {"set": [-1]}])
def test_other_calls_are_refused(entry: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(SetSyscalls, engine=1, entry=entry)


def test_a_member_that_is_none_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        params(SetEvents, engine=1, events=[], thread=5)
