"""What the attacher is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import target
from utraced.api import trace as api
from utraced.errors import Unsupported
from utraced.handlers.braking import Brake
from utraced.handlers.calls import selection
from utraced.handlers.recorder import NoRecorder
from utraced.handlers.recording import request_of
from utraced.kernel.recorder_requests import MAX_NUMBERS, Backend, Record
from utraced.syscalls.calls import signatures


class Refusing(NoRecorder):
    """Does what can be done while the attacher works, which then refuses."""

    def unavailable(self, backend: Backend) -> str | None:
        """It may be able to."""
        del backend
        return None

    brake: Brake | None = None

    async def begin(
        self,
        request: Record,
        pidfd: int,
        recorded: Any,
        *,
        brake: Brake | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Refuse."""
        self.brake = brake
        meanwhile()
        await super().begin(request, pidfd, recorded)


def asked(**options: object) -> Record:
    params = api.Start(pid=1, **options)  # type: ignore[arg-type]
    return request_of(params, selection(params.syscalls))


def test_all_calls_are_those_without_a_number_too() -> None:
    record = asked()
    assert record.others
    assert len(record.x86_64) > 300 < len(record.i386)
    assert max(*record.x86_64, *record.i386) < MAX_NUMBERS - 1


def test_named_calls_have_their_numbers_in_each_abi() -> None:
    record = asked(syscalls=("openat",), strings=7, follow=True, stacks=True)
    assert (record.x86_64, record.i386, record.others) == ((257,), (295,), False)
    assert (record.strings, record.follow, record.stacks) == (7, True, True)


def test_the_execve_that_is_waited_for_is_no_call_that_is_asked_for() -> None:
    record = asked(syscalls=("openat",), from_exec=True)
    assert (record.x86_64, record.i386) == ((257,), (295,))


def test_of_paths_only_calls_that_have_some_are_asked_for() -> None:
    record = asked(syscalls=("openat", "read"), path_prefix="/etc")
    assert (record.x86_64, record.i386, record.others, record.path_prefix) == ((257,), (295,), False, b"/etc")
    assert not asked(path_prefix="/etc").others
    assert asked(failed_only=True).failed_only


@pytest.mark.parametrize(
    ("options", "loaded"),
    [
        ({"deliver": "events"}, 1),
        ({"deliver": "raw"}, 1),  # for the calls that threads are in
        ({"deliver": "raw", "path_prefix": "/etc"}, 0),
    ],
)
def test_decoders_that_are_needed_are_loaded_while_the_attacher_works(options: dict[str, Any], loaded: int) -> None:
    with target() as found, by_hand() as hand:
        hand.session.recorder = Refusing("the moon is full")
        signatures.cache_clear()
        with pytest.raises(Unsupported, match="the moon is full"):
            hand.call(api.Start(pid=found.pid, backend="kernel", **options))
        assert signatures.cache_info().currsize == loaded
        assert not hand.session.traces
        assert not hand.session.recordings


@pytest.mark.parametrize("overflow", ["drop", "block"])
def test_only_what_is_to_block_has_a_brake(overflow: str) -> None:
    with target() as found, by_hand() as hand:
        recorder = hand.session.recorder = Refusing("the moon is full")
        with pytest.raises(Unsupported):
            hand.call(api.Start(pid=found.pid, backend="kernel", overflow=overflow))  # type: ignore[arg-type]
        assert (recorder.brake is not None) is (overflow == "block")
