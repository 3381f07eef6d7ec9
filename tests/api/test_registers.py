"""What registers.read and registers.write take."""

from __future__ import annotations

import msgspec
import pytest

from utraced.api.registers import Read, Registers, Write
from utraced.model import Hex, encode_json

from .declared import params


def test_the_general_set_is_read_unless_others_are_named() -> None:
    assert params(Read, engine=1, tid=5).set == ("general",)
    assert params(Read, engine=1, tid=5, set=["fp", "xstate", "debug"]).set == ("fp", "xstate", "debug")


@pytest.mark.parametrize("wanted", [[], ["mmx"], "general", ["general"] * 5])
def test_other_sets_are_refused(wanted: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Read, engine=1, tid=5, set=wanted)


def test_registers_are_values_by_name() -> None:
    assert encode_json(Registers(general={"rip": Hex(0x401000)})) == b'{"general":{"rip":"0x401000"}}'


def test_registers_are_written_by_name() -> None:
    written = params(Write, engine=1, tid=5, general={"rip": "0x401000", "rax": 1}, xstate="AP8=")
    assert written.general == {"rip": 0x401000, "rax": 1}
    assert (written.fp, written.xstate, written.debug) == (None, b"\0\xff", None)


@pytest.mark.parametrize(
    "wanted", [{"general": {"rip": -1}}, {"general": {"rip": 1 << 64}}, {"fp": ["rip"]}, {"xstate": ""}, {"set": []}]
)
def test_other_values_are_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        params(Write, engine=1, tid=5, **wanted)
