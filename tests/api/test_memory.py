"""What memory.read, memory.write and memory.search take."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.memory import Contents, Found, Hole, Read, Search, Write
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


def test_what_is_written_is_base64() -> None:
    assert params(Write, engine=1, address="0x1000", data="AP8=").data == b"\0\xff"
    assert params(Write, engine=1, address=0, fd=2, size=5).fd == 2
    with pytest.raises(msgspec.ValidationError):
        params(Write, engine=1, address=0, data="no base64!")


def test_a_search_is_everywhere_unless_it_is_limited() -> None:
    wanted = params(Search, pid=5, pattern="AA==")
    assert (wanted.pattern, wanted.start, wanted.end, wanted.limit) == (b"\0", 0, None, 1000)
    assert encode_json(Found(addresses=(Hex(16),), next=Hex(17))) == b'{"addresses":["0x10"],"next":"0x11"}'


@pytest.mark.parametrize(
    "members", [{"pattern": ""}, {"pattern": "AAAA" * 1400}, {"limit": 0}, {"limit": 5001}, {"end": -1}]
)
def test_other_searches_are_refused(members: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Search, **({"pid": 5, "pattern": "AA=="} | members))
