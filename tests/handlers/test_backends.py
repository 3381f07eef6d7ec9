from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.kernel.by_hand import Hand, by_hand
from tests.kernel.targets import make_calls, target
from tests.live.machine import free
from utraced.api import engine, trace
from utraced.api.daemon import Hello
from utraced.errors import LimitExceeded, NoSuchProcess, PermissionDenied, Unsupported, UtracedError
from utraced.handlers import backends
from utraced.handlers.recorder import NoRecorder
from utraced.kernel.recorder_requests import Record

TOO_OLD = Unsupported("too old", feature="x")


class Kernel(NoRecorder):
    """A kernel that records, or answers with an error: by programs, or by events."""

    def __init__(self, error: UtracedError | None = None, by_events: UtracedError | None = None) -> None:
        super().__init__("never told")
        self.asked: list[str] = []
        self._errors = {"kernel": error, "perf": by_events}

    def unavailable(self, backend: str) -> None:
        return None

    async def begin(self, request: Record, *_: Any, **__: Any) -> None:
        self.asked.append(request.by)
        error = self._errors[request.by]
        if error is not None:
            raise error


@contextmanager
def started(kernel: NoRecorder, **options: Any) -> Iterator[tuple[Hand, trace.Started]]:
    """Give what is answered to ``trace.start`` where the kernel is so."""
    with target(make_calls(1)) as found, by_hand() as hand:
        hand.session.recorder = kernel
        yield hand, hand.call(trace.Start(pid=found.pid, **options))
        found.go()
        hand.until(lambda: found.said(b"done"))
        hand.session.close("session_closed", 0)
        hand.until(lambda: free(found.pid))


def test_the_kernel_records_where_it_can() -> None:
    with started(Kernel(), deliver="raw") as (hand, answer):
        assert (answer.backend, answer.reason, answer.deliver) == ("kernel", None, "raw")
        assert not hand.core.tracees


@pytest.mark.parametrize("error", [Unsupported("too old", feature="x"), LimitExceeded("eight are on", limit="x")])
def test_where_it_takes_no_programs_events_record(error: UtracedError) -> None:
    kernel = Kernel(error)
    with started(kernel, deliver="raw") as (hand, answer):
        assert (answer.backend, answer.deliver) == ("perf", "raw")
        assert answer.reason == f"the backend kernel has refused: {error.message}"
        assert list(hand.session.recordings) == [answer.trace]
    assert kernel.asked == ["kernel", "perf"]


def test_where_it_gives_no_events_either_ptrace_traces_and_the_answer_says_why() -> None:
    with started(Kernel(TOO_OLD, LimitExceeded("eight are on", limit="x")), deliver="raw") as (hand, answer):
        assert (answer.backend, answer.deliver) == ("ptrace", "events")
        assert answer.reason == ("the backend kernel has refused: too old; the backend perf has refused: eight are on")
        assert list(hand.session.traces) == [answer.trace]
        assert not hand.session.recordings


@pytest.mark.parametrize(("options", "what"), [({"stacks": True}, "stacks"), ({"path_prefix": "/"}, "which path")])
def test_what_events_do_not_tell_ptrace_does(options: dict[str, Any], what: str) -> None:
    kernel = Kernel(TOO_OLD)
    with started(kernel, **options) as (_, answer):
        assert answer.backend == "ptrace"
        assert f"the backend perf cannot tell {what}" in (answer.reason or "")
    assert kernel.asked == ["kernel"]
    with by_hand() as hand, pytest.raises(Unsupported, match=what):
        hand.call(trace.Start(pid=os.getpid(), backend="perf", **options))


@pytest.mark.parametrize("error", [NoSuchProcess("no memory"), PermissionDenied("no", reason="policy")])
def test_what_has_to_do_with_the_process_ptrace_tells(error: UtracedError) -> None:
    kernel = Kernel(error)
    with started(kernel) as (_, answer):
        assert answer.backend == "ptrace"
        assert answer.reason == f"the backend kernel has refused: {error.message}"
    assert kernel.asked == ["kernel"]


def test_what_ptrace_is_refused_too_is_told_as_ptrace_is() -> None:
    with by_hand() as hand:
        hand.session.recorder = Kernel(PermissionDenied("the attacher's words", reason="policy"))
        with pytest.raises(UtracedError) as told:
            hand.call(trace.Start(pid=os.getpid()))
        assert "attacher" not in told.value.message
        assert not hand.session.traces


def test_beside_an_engine_of_the_session_ptrace_traces() -> None:
    with target(make_calls(1)) as found, by_hand() as hand:
        kernel = hand.session.recorder = Kernel()
        hand.call(engine.Attach(pid=found.pid))
        answer = hand.call(trace.Start(pid=found.pid))
        assert answer.backend == "ptrace"
        assert "engines" in (answer.reason or "")
        other = hand.another(2)
        other.recorder = kernel
        assert hand.call(trace.Start(pid=found.pid), session=other).backend == "kernel"
        other.close("session_closed", 0)


def test_without_an_attacher_ptrace_traces() -> None:
    with started(NoRecorder("it is closed")) as (_, answer):
        assert answer.backend == "ptrace"
        assert answer.reason == (
            "the backend kernel is not available: it is closed; the backend perf is not available: it is closed"
        )


@pytest.mark.parametrize("options", [{"overflow": "block"}, {"backend": "ptrace"}])
def test_the_kernel_is_not_asked_for_what_only_ptrace_can_do(options: dict[str, Any]) -> None:
    kernel = Kernel()
    with started(kernel, **options) as (_, answer):
        assert answer.backend == "ptrace"
        assert answer.reason in {
            backends.ASKED,
            "with overflow block nothing is to be lost, which only ptrace promises",
        }
    assert kernel.asked == []


def test_features_say_what_is_different_with_those_that_stop_nothing() -> None:
    with by_hand() as hand:
        hand.session.recorder = Kernel()
        features = hand.call(Hello()).features
    for backend in backends.RECORDING:
        feature = features[f"backend.{backend}"]
        assert (feature.available, feature.reason) == (True, backends.DIFFERENCES[backend])
