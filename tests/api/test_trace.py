"""What trace.* takes."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.engine import CallFilter
from utraced.api.trace import Start, Stop

from .declared import params


def test_a_trace_of_everything_needs_only_a_process() -> None:
    made = params(Start, pid=5)
    assert (made.strings, made.backend, made.overflow, made.deliver) == (32, "auto", "drop", "events")
    assert (made.follow, made.from_exec, made.failed_only, made.entries) == (False, False, False, False)
    assert made.syscalls is None


def test_calls_are_a_list_all_or_a_filter() -> None:
    assert params(Start, pid=5, syscalls=["read", "%file", 3]).syscalls == ("read", "%file", 3)
    assert params(Start, pid=5, syscalls="all").syscalls == "all"
    assert params(Start, pid=5, syscalls={"remove": ["read"]}).syscalls == CallFilter(remove=("read",))


@pytest.mark.parametrize(
    "members", [{"strings": -1}, {"strings": 65_537}, {"backend": "magic"}, {"overflow": "lose"}, {"syscalls": "read"}]
)
def test_nothing_else_is_taken(members: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Start, pid=5, **members)


def test_the_reply_to_a_start_brings_a_new_id() -> None:
    assert Start.creates
    assert not Stop.creates
