"""The soak of recorded traces, for a moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import benchmarks.soak
from benchmarks.flood import compile_flood
from benchmarks.soak import soak
from tests.children import needs_root
from tests.kernel.recording import needs_bpf


@needs_root
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the flooding program")
def test_a_daemon_bears_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_bpf()
    # What the traces of a moment hold says nothing of growth: for that it has to last.
    monkeypatch.setattr(benchmarks.soak, "MORE_KIB", 1 << 20)
    monkeypatch.setattr(benchmarks.soak, "PAUSES", 3)
    monkeypatch.setattr(benchmarks.soak, "QUIET", 0.1)
    rows = {row.name: row for row in soak(tmp_path, compile_flood(tmp_path), seconds=2)}
    assert rows["traces, in all"].value > 0
    assert rows["calls and records told, each second"].value > 0
    assert rows["memory of the attacher in pauses, MiB"].value > 1
