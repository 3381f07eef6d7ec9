"""The parameters of rpc.discover."""

from __future__ import annotations

import pytest

from utraced.api.rpc import Discover
from utraced.errors import InvalidParams
from utraced.rpc.encoding import JSON


def test_family_may_be_left_out() -> None:
    assert JSON.decode(b"{}", Discover) == Discover(family=None)
    assert JSON.decode(b'{"family":"engine"}', Discover) == Discover(family="engine")


@pytest.mark.parametrize("params", [b'{"family":""}', b'{"family":7}', b'{"families":"engine"}'])
def test_what_is_no_family(params: bytes) -> None:
    with pytest.raises(InvalidParams):
        JSON.decode(params, Discover)
