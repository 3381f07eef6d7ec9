"""Where nothing can be recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from utraced.errors import Unsupported
from utraced.handlers.recorder import NO_RECORDER, NoRecorder
from utraced.kernel.recorder_requests import Record


def test_it_says_why() -> None:
    recorder = NoRecorder("the moon is full")
    nothing: Any = None
    assert recorder.unavailable("kernel") == "the moon is full"
    with pytest.raises(Unsupported, match="the moon is full") as caught:
        asyncio.run(recorder.begin(Record(pidfd=0), 0, nothing))
    assert caught.value.data["feature"] == "backend.kernel"


def test_there_is_nothing_to_end() -> None:
    nothing: Any = None
    asyncio.run(NO_RECORDER.finish(nothing, "client_request"))
    NO_RECORDER.drop(nothing)
