"""The soak of recorded traces, for a moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.flood import compile_flood
from benchmarks.soak import soak
from tests.children import needs_root
from tests.kernel.recording import needs_bpf


@needs_root
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the flooding program")
def test_a_daemon_bears_it(tmp_path: Path) -> None:
    needs_bpf()
    rows = {row.name: row for row in soak(tmp_path, compile_flood(tmp_path), seconds=3)}
    assert rows["traces, in all"].value > 0
    assert rows["calls and records told, each second"].value > 0
    assert rows["memory of the attacher, MiB"].value > 1
