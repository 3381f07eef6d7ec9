from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from utracectl.numbers import address_argument, count_argument, size_argument


def test_addresses() -> None:
    assert address_argument("0x7fFF0") == 0x7FFF0
    assert address_argument("0xffffffffffffffff") == (1 << 64) - 1


@pytest.mark.parametrize("text", ["", "0x", "7fff", "12", "0xg", "0x1_0", "0x 1", "-0x1", "0x10000000000000000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="write it as 0x"):
        address_argument(text)


def test_sizes_and_counts() -> None:
    assert [size_argument("256"), size_argument("0x100"), size_argument("1")] == [256, 256, 1]
    assert size_argument("1099511627776") == 1 << 40
    assert count_argument("1000000") == 1_000_000


@pytest.mark.parametrize("text", ["0", "0x0", "-1", "1k", "", "1099511627777", "0xg", "²", "9" * 5000])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no number of bytes"):
        size_argument(text)


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "0x1", "9" * 5000])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no number"):
        count_argument(text)
