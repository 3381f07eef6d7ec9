"""What session.* takes."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.session import List, Sync

from .declared import params


def test_a_page_starts_where_the_last_one_ended() -> None:
    assert (params(List).cursor, params(List).limit) == (None, None)
    assert params(List, cursor=7, limit=2) == List(cursor=7, limit=2)


@pytest.mark.parametrize("members", [{"cursor": 0}, {"limit": 0}, {"cursor": "7"}])
def test_no_page_is_before_the_first_or_empty(members: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(List, **members)


@pytest.mark.parametrize("token", ["", "x" * 200, 0, -1, 2**63 - 1, None])
def test_a_mark_is_text_or_a_number(token: str | int | None) -> None:
    assert params(Sync, token=token).token == token


@pytest.mark.parametrize("token", ["x" * 201, 2**63, 1.5, [], True])
def test_a_mark_is_nothing_else(token: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Sync, token=token)


def test_the_reply_to_a_mark_follows_it() -> None:
    assert Sync.follows
    assert not List.follows
