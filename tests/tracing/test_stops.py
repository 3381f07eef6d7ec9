"""Classified stops are plain values."""

from __future__ import annotations

import struct

import pytest

from utraced.tracing.stops import EventStop, SignalStop


@pytest.mark.parametrize("code", [0, 1, -6, 0x80])
def test_a_signal_s_code_is_read_from_its_siginfo(code: int) -> None:
    assert SignalStop(5, 1, 2, 10, struct.pack("<iii", 10, 0, code).ljust(128, b"\0")).code == code


def test_a_stop_is_a_value() -> None:
    assert EventStop(5, 1, 2) == EventStop(5, 1, 2)
