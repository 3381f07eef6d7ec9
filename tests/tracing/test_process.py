"""What a process's threads are to be restarted with."""

from __future__ import annotations

import pytest

from utraced.observing.selection import Selection
from utraced.observing.trace import Trace
from utraced.tracing.actions import Wish
from utraced.tracing.engine import Engine
from utraced.tracing.process import Process, Tracee
from utraced.tracing.stops import EventStop

from .playbook import FakeOwner, FakeTarget


@pytest.mark.parametrize(
    ("events", "request_", "exits"),
    [
        ({}, Wish.RUN, False),
        ({"exit": "report"}, Wish.RUN, True),
        ({"syscall_entry": "hold"}, Wish.SYSCALL, False),
        ({"syscall_exit": "report", "exit": "hold"}, Wish.SYSCALL, True),
    ],
)
def test_threads_stop_for_no_more_than_is_wanted(events: dict[str, str], request_: Wish, *, exits: bool) -> None:
    process = Process(5, FakeTarget(5))
    process.engines.append(Engine(FakeOwner(1), process, events=events))
    process.refresh()
    assert (process.request, process.exits) == (request_, exits)


def test_a_trace_needs_system_calls_and_no_exits() -> None:
    process, owner = Process(5, FakeTarget(5)), FakeOwner(1)
    process.engines.append(Engine(owner, process, events={}, trace=Trace(owner, Selection())))
    process.refresh()
    assert (process.request, process.exits) == (Wish.SYSCALL, False)


def test_without_engines_nothing_is_wanted() -> None:
    process = Process(5, FakeTarget(5))
    process.refresh()
    assert (process.request, process.exits) == (Wish.RUN, False)


def test_a_new_thread_runs_until_its_first_stop() -> None:
    tracee = Tracee(5, Process(5, FakeTarget(5)))
    assert not tracee.stopped
    tracee.stop = EventStop(5, 1, 2)
    assert tracee.stopped
