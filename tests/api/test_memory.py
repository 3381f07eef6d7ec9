"""What memory.read takes."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.memory import Contents, Hole, Read
from utraced.model import Hex, encode_json

from .declared import params


def test_an_address_is_text_or_a_number() -> None:
    assert params(Read, pid=5, address="0x7fff00000000", size=8).address == 0x7FFF00000000
    assert params(Read, pid=5, address=4096, size=8).address == 4096


@pytest.mark.parametrize("members", [{"size": 0}, {"size": (1 << 40) + 1}, {"address": "4096"}, {"fd": 16}, {"fd": -1}])
def test_nothing_else_is_taken(members: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Read, **({"pid": 5, "address": 0, "size": 8} | members))


def test_data_is_base64_and_holes_are_addresses() -> None:
    contents = Contents(data=b"\0\xff", holes=(Hole(start=Hex(0x1000), end=Hex(0x2000)),))
    assert encode_json(contents) == b'{"data":"AP8=","holes":[{"start":"0x1000","end":"0x2000"}]}'
