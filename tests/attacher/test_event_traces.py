"""From a request that is granted to a recording by events."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.children import needs_root, zombie
from tests.kernel.recording import RING
from tests.kernel.test_perf_events import points
from utraced.attacher import event_traces
from utraced.errors import InvalidParams, LimitExceeded, NoSuchProcess, Unsupported
from utraced.kernel import tracepoints
from utraced.kernel.bpf_layout import Guard
from utraced.kernel.perf_recording import Filters, Restless
from utraced.kernel.perf_translation import Settings
from utraced.kernel.recorder_requests import Record
from utraced.kernel.tracepoints import Tracepoints

pytestmark = needs_root
GUARD = Guard(1000, 100, 0, 1)


class Opened:
    """What a recording was asked for."""

    def __init__(self, pid: int, points: object, filters: Filters, settings: Settings, **_: object) -> None:
        self.pid, self.filters, self.settings = pid, filters, settings

    def close(self) -> None:
        """Close nothing."""


@contextmanager
def pidfd_of(pid: int) -> Iterator[int]:
    pidfd = os.pidfd_open(pid)
    yield pidfd
    os.close(pidfd)


def opened(monkeypatch: pytest.MonkeyPatch, guard: Guard | None = None, **asked: object) -> Opened:
    points()
    monkeypatch.setattr(event_traces, "PerfRecording", Opened)
    with pidfd_of(os.getpid()) as pidfd:
        request = Record(pidfd=0, by="perf", **asked)  # type: ignore[arg-type]
        found = event_traces.record(request, pidfd, guard, tracepoints.find(), narrow=False)
    assert isinstance(found, Opened)
    return found


def test_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(monkeypatch, x86_64=(0, 1), i386=(5,), follow=True, failed_only=True)
    assert found.pid == os.getpid()
    assert found.filters.told == "(id >= 0 && id <= 1) || id == 5"
    assert "id == 157" not in found.filters.beside
    assert found.settings.follow
    assert found.settings.failed_only
    assert found.settings.owner is None
    assert [found.settings.wanted.has(*call) for call in ((0, 1), (1, 1), (1, 5), (0, 9999))] == [
        True,
        False,
        True,
        False,
    ]


def test_of_a_user_calls_are_looked_at_that_make_his_process_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(monkeypatch, GUARD, others=True)
    assert found.filters.told is None
    assert " 157" in found.filters.beside
    assert found.settings.owner == (1000, 100)


def test_no_call_at_all_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(monkeypatch).filters.told == "id == -1"


def refused(error: type[Exception], text: str | None, points: Tracepoints | None = None, **asked: object) -> None:
    with pidfd_of(os.getpid()) as pidfd, pytest.raises(error, match=text):
        event_traces.record(
            Record(pidfd=0, by="perf", **asked),
            pidfd,
            None,
            points or tracepoints.find(),
            narrow=False,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("asked", [{"stacks": True}, {"path_prefix": b"/etc"}])
def test_what_events_do_not_tell_is_refused(asked: dict[str, object]) -> None:
    refused(Unsupported, "neither stacks nor paths", **asked)


def test_other_nonsense_is_too() -> None:
    refused(InvalidParams, "power of two", ring_size=RING + 8)
    refused(Unsupported, "more than a filter holds", x86_64=tuple(n for n in range(512) if n % 3))
    refused(Unsupported, "no tracefs", Tracepoints())


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError(errno.EMFILE, "Too many"), LimitExceeded),
        (OSError(errno.EPERM, "locked"), LimitExceeded),
        (OSError(errno.ESRCH, "none"), NoSuchProcess),
        (PermissionError(errno.EACCES, "no"), Unsupported),
        (Restless(), Unsupported),
    ],
)
def test_what_the_kernel_refuses_is_told(
    raised: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    points()

    def refuse(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(event_traces, "PerfRecording", refuse)
    refused(expected, None)


def test_a_process_that_ends_meanwhile_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another's by now."""
    points()
    monkeypatch.setattr(event_traces, "PerfRecording", Opened)
    found = iter((1, 2))
    monkeypatch.setattr(event_traces, "pid_of", lambda pidfd: next(found))
    refused(NoSuchProcess, "process 1 has ended")


def test_one_that_has_ended_is_not_recorded() -> None:
    points()
    with zombie() as pid:
        pidfd = os.pidfd_open(pid)
    try:
        with pytest.raises(NoSuchProcess):
            event_traces.record(Record(pidfd=0, by="perf"), pidfd, None, tracepoints.find(), narrow=False)
    finally:
        os.close(pidfd)
