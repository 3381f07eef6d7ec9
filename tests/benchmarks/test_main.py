"""The benchmarks' pieces run; what they measure is not tested, since a loaded machine would decide."""

import shutil
import subprocess
import sys

import pytest

from benchmarks.__main__ import main

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the flooding program")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is what is compared with")

TINY = ["--rounds", "1", "--calls", "16", "--threads", "3", "--milliseconds", "5", "--tracees", "2"]


@needs_gcc
@needs_strace
@pytest.mark.parametrize(
    ("subject", "rows"),
    [
        ("stops", ["2 tracees, pinned: strace", "2 tracees, free: worker", "2 tracees, free: utracectl trace"]),
        ("attaching", ["attach 3 threads", "let 3 threads go"]),
        ("fairness", ["pinned: worker", "free: utracectl"]),
        ("starting", ["utracectl --version", "trace true(1), start to end: utracectl"]),
    ],
)
def test_a_subject_prints_its_rows(
    subject: str, rows: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert main([subject, *TINY]) == 0
    printed = capsys.readouterr().out
    assert [row for row in rows if row not in printed] == []


def test_an_unknown_subject_is_told() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert "no subject speed: choose from stops, attaching, fairness, starting" in ended.stderr


def test_a_missing_program_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main(["stops"]) == 1
    assert "gcc is needed: apt install gcc" in capsys.readouterr().err
