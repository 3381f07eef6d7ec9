"""What records commands does, and tells what it spent; how long anything takes is not tested."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.recorders import Runner, no_perf
from benchmarks.recording import TRACERS, one_byte_at_a_time
from benchmarks.rounds import Row
from benchmarks.spending import adopting, cpu_seconds
from benchmarks.table import lines
from tests.children import needs_root
from tests.kernel.recording import needs_bpf

pytestmark = needs_root


@pytest.mark.parametrize("name", TRACERS)
def test_a_command_is_recorded(name: str, tmp_path: Path) -> None:
    needs_bpf()
    if "strace" in name and shutil.which("strace") is None:
        pytest.skip("strace is what is compared with")
    if name == "perf trace" and (why := no_perf(tmp_path)) is not None:
        pytest.skip(why)
    runner: Runner = TRACERS[name]
    with adopting():
        run = runner(one_byte_at_a_time(300), tmp_path)
        assert run.seconds > 0
        assert run.lost == 0
        assert (run.cpu > 0) == (name != "untraced" and not name.startswith("beside"))


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="false ended with status"):
        TRACERS["untraced"](["false"], tmp_path)


def test_what_a_process_spends_grows() -> None:
    before = cpu_seconds([os.getpid()])
    while cpu_seconds([os.getpid()]) == before:
        pass
    assert cpu_seconds([os.getpid()]) > before > 0


def test_what_is_spent_and_lost_has_columns() -> None:
    (line,) = lines([Row("x", 2.0, "s", 1.5, 1.0, 2.0, "1.8", cpu=0.25, lost=7)])
    assert line.split() == ["x", "2", "s", "1.5", "1", "2", "1.8", "0.25", "7"]
