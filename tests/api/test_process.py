"""What process.* takes."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.process import Info, List, Maps

from .declared import params


def test_a_process_is_named_by_pid_or_descriptor() -> None:
    assert params(Info, pid=5, start_time=77).start_time == 77
    assert params(Info, pidfd=0).pidfd == 0


def test_a_subtree_is_named_by_its_root() -> None:
    assert params(List, root=5).root == 5
    assert params(List).root is None


@pytest.mark.parametrize("members", [{"as": "text"}, {"limit": 0}, {"cursor": -5}])
def test_nothing_else_is_taken(members: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Maps, pid=5, **members)
