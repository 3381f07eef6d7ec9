from __future__ import annotations

import argparse

import pytest

from utracectl.hosts import host_argument, is_host


@pytest.mark.parametrize("text", ["host", "user@host", "ssh://user@host:22", "10.0.0.1", "::1", "höst"])
def test_a_host(text: str) -> None:
    assert is_host(text)
    assert host_argument(text) == text


@pytest.mark.parametrize("text", ["", "-", "-oProxyCommand=touch x", "--", "a b", "a\tb", "a\n", "a\x1b[1m", "\x00"])
def test_what_is_no_host(text: str) -> None:
    assert not is_host(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is no host"):
        host_argument(text)
