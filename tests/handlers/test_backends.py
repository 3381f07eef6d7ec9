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
from utraced.errors import LimitExceeded, NoSuchProcess, PermissionDenied, Unsupported, UtracedError
from utraced.handlers import backends
from utraced.handlers.recorder import NoRecorder


class Kernel(NoRecorder):
    """A kernel that records, or answers with an error."""

    def __init__(self, error: UtracedError | None = None) -> None:
        super().__init__("never told")
        self.asked = 0
        self._error = error

    def unavailable(self) -> None:
        return None

    async def begin(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        if self._error is not None:
            raise self._error


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


@pytest.mark.parametrize(
    "error",
    [
        Unsupported("too old", feature="x"),
        LimitExceeded("eight are on", limit="x"),
        NoSuchProcess("no memory"),
        PermissionDenied("no", reason="policy"),
    ],
)
def test_where_it_refuses_ptrace_traces_and_the_answer_says_why(error: UtracedError) -> None:
    with started(Kernel(error), deliver="raw") as (hand, answer):
        assert (answer.backend, answer.deliver) == ("ptrace", "events")
        assert answer.reason == f"the backend kernel has refused: {error.message}"
        assert list(hand.session.traces) == [answer.trace]
        assert not hand.session.recordings


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
        assert answer.reason == "the backend kernel is not available: it is closed"


@pytest.mark.parametrize("options", [{"overflow": "block"}, {"backend": "ptrace"}])
def test_the_kernel_is_not_asked_for_what_only_ptrace_can_do(options: dict[str, Any]) -> None:
    kernel = Kernel()
    with started(kernel, **options) as (_, answer):
        assert answer.backend == "ptrace"
        assert answer.reason in {
            backends.ASKED,
            "with overflow block the target is held, which the backend kernel cannot do",
        }
    assert kernel.asked == 0
