"""The flags of terminals, as strace 6.1 writes them."""

from __future__ import annotations

import pytest

from utraced.syscalls.calls.terminal import control_text, output_text

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "NL0|CR0|TAB0|BS0|VT0|FF0|"),
        (0x1008, "NL0|CR0|TAB2|BS0|VT0|FF0|OCRNL"),
        (ALL, "NL1|CR3|XTABS|BS1|VT1|FF1|OPOST|OLCUC|ONLCR|OCRNL|ONOCR|ONLRET|OFILL|OFDEL|0xffff0000"),
    ],
)
def test_output_has_all_delays_and_then_the_bits(flags: int, text: str) -> None:
    assert output_text(flags) == text


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "B0|CS5|"),
        (0x1000, "BOTHER|CS5|"),
        (0xBF, "B38400|CS8|CREAD"),
        (0x10020000, "B0|B115200<<IBSHIFT|CS5|"),
        (ALL, "B4000000|B4000000<<IBSHIFT|CS8|CSTOPB|CREAD|PARENB|PARODD|HUPCL|CLOCAL|CMSPAR|CRTSCTS|0x2ff0e000"),
    ],
)
def test_control_has_the_speeds_and_the_size_of_characters_first(flags: int, text: str) -> None:
    assert control_text(flags) == text
