"""The attacher's methods, as they go over the wire."""

from __future__ import annotations

import msgspec
import pytest

from utraced.kernel.recorder_requests import MAX_NUMBERS, Record, requests


def test_there_are_two_methods() -> None:
    assert sorted(requests().methods) == ["recorder.end", "recorder.record"]


@pytest.mark.parametrize(
    "members",
    [{"x86_64": [MAX_NUMBERS]}, {"x86_64": [-1]}, {"strings": -1}, {"ring_size": 4096}, {"address": 1}],
    ids=str,
)
def test_what_is_out_of_bounds_is_no_request(members: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"pidfd": 0, **members}, type=Record)
