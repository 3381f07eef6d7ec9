"""rpc.discover."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.handlers.contexts import context
from utraced.api.document import document
from utraced.api.rpc import Discover
from utraced.errors import InvalidParams, LimitExceeded
from utraced.handlers import rpc as handlers
from utraced.model import encode_json


def discover(family: str | None = None) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        return await handlers.discover(Discover(family=family), context())

    return anyio.run(run)


def test_whole_and_by_family() -> None:
    assert discover() == document()
    assert {method["name"].partition(".")[0] for method in discover("engine")["methods"]} == {"engine"}


def test_it_is_made_once() -> None:
    assert discover() is discover()


def test_no_such_family() -> None:
    with pytest.raises(InvalidParams, match="no family 'nothing'"):
        discover("nothing")


def test_what_does_not_fit_a_packet_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encode_json(document()))
    monkeypatch.setattr(handlers, "MAX_PACKET", size)
    with pytest.raises(LimitExceeded) as caught:
        discover()
    assert caught.value.data == {"limit": "max_packet", "value": size}
    assert "family" in caught.value.hint
    assert "engine" in caught.value.hint
    assert discover("engine") is document("engine")
