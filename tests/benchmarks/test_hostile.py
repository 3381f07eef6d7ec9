"""The hostile packets, for a moment."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

from benchmarks import hostile


def test_packets_are_the_same_for_the_same_seed_and_never_empty() -> None:
    first, again = (list(islice(hostile.packets(random.Random(7)), 300)) for _ in range(2))
    assert first == again
    assert all(0 < len(packet) <= 250_000 for packet in first)
    assert len(set(first)) > 250


def test_a_daemon_bears_them(tmp_path: Path) -> None:
    waited, grown = hostile.hostile(tmp_path, seconds=1)
    assert waited.value > 0
    assert grown.value > 0
