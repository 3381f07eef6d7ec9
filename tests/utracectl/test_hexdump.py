from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utracectl.hexdump import hexdump


def test_lines_of_sixteen_bytes() -> None:
    assert list(hexdump(0x7F0010, b"\x7fELF \x1b[1m~\xff0123456789")) == [
        "007f0010: 7f 45 4c 46 20 1b 5b 31 6d 7e ff 30 31 32 33 34  .ELF .[1m~.01234",
        "007f0020: 35 36 37 38 39                                   56789",
    ]
    assert list(hexdump(0x7FFD_0F1E_2AB8, b"")) == []
    assert next(hexdump(0xFFFF_FFFF_FF60_0000, b"x")).startswith("ffffffffff600000: 78 ")


@given(st.binary(max_size=100))
def test_nothing_in_it_moves_a_terminal(data: bytes) -> None:
    assert all(line.isascii() and line.isprintable() for line in hexdump(0, data))


def test_it_is_what_xxd_prints() -> None:
    program = shutil.which("xxd")
    if program is None:
        pytest.skip("xxd is missing: install it to compare with what it prints")
    data = bytes(range(256)) * 2 + b"rest"
    printed = subprocess.run([program, "-g1"], input=data, capture_output=True, check=True).stdout.decode()
    assert "".join(f"{line}\n" for line in hexdump(0, data)) == printed
