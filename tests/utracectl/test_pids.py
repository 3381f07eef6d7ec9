from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from utracectl.pids import HIGHEST_PID, is_pid, pid_argument


@pytest.mark.parametrize("text", ["1", "007", "4194304"])
def test_a_pid(text: str) -> None:
    assert is_pid(text)
    assert pid_argument(text) == int(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", " 1", "1.0", "4194305", "1_000", "٣", "²", "x", "9" * 5000])
def test_what_is_no_pid(text: str) -> None:
    assert not is_pid(text)
    with pytest.raises(argparse.ArgumentTypeError, match="name one by its number"):
        pid_argument(text)


def test_the_kernel_gives_no_higher_ones() -> None:
    assert int(Path("/proc/sys/kernel/pid_max").read_text()) <= HIGHEST_PID
