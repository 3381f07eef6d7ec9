"""The benchmarks' pieces run; what they measure is not tested, since a loaded machine would decide."""

import shutil
import subprocess
import sys

import pytest

from benchmarks.__main__ import SUBJECTS, main
from tests.children import needs_root

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the flooding program")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is what is compared with")

TINY = ["--rounds", "1", "--calls", "16", "--threads", "3", "--milliseconds", "5", "--tracees", "2"]
TINY += ["--processes", "4", "--exchanges", "3", "--connections", "3"]


@needs_gcc
@needs_strace
@pytest.mark.parametrize(
    ("subject", "rows"),
    [
        ("stops", ["2 tracees, pinned: strace", "2 tracees, free: worker", "2 tracees, free: utracectl trace"]),
        ("attaching", ["attach 3 threads", "let 3 threads go"]),
        ("births", ["one of 3 threads: an engine", "one of 4 processes: strace -f"]),
        ("holding", ["stop and resume a busy thread, pinned", "a thread that sleeps, free: p99"]),
        ("observers", ["a stop: one engine, told every call", "a stop: a second, told every call too"]),
        ("memory", ["read 4 KiB: memory.read", "read 64 MiB: memory.read into one that is kept"]),
        ("fairness", ["pinned: worker", "free: utracectl"]),
        ("starting", ["utracectl --version", "trace true(1), start to end: utracectl"]),
        ("roundtrip", ["C echo", "daemon.hello", "registers.read", "typed client", "HTTP, JSON", "p99: C echo"]),
        ("connections", ["connect, hello, close", "the idle daemon", "each of 3 idle connections"]),
        pytest.param(
            "broker",
            ["first connection of a user", "memory of the broker (PSS)", "round trip: with a broker"],
            marks=needs_root,
        ),
        ("latency", ["flood of stops, pinned: median", "flood of stops, free: p99"]),
    ],
)
def test_a_subject_prints_its_rows(
    subject: str, rows: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert main([subject, *TINY]) == 0
    printed = capsys.readouterr().out
    assert [row for row in rows if row not in printed] == []


@needs_gcc
@needs_strace
@pytest.mark.parametrize("program", ["dbus-daemon", "gdbserver"])
def test_a_server_that_is_missing_is_left_out_and_told(
    program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else found(name))
    assert main(["roundtrip", *TINY]) == 0
    printed = capsys.readouterr()
    assert f"{program} is not compared: apt install {program}" in printed.err
    assert "C echo" in printed.out


@needs_gcc
@needs_strace
@pytest.mark.parametrize(
    ("program", "row"), [("dbus-daemon", "D-Bus, through the bus"), ("gdbserver", "gdbserver, registers")]
)
def test_a_server_that_is_there_is_compared(program: str, row: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here")
    assert main(["roundtrip", *TINY]) == 0
    assert f"round trip: {row}" in capsys.readouterr().out


def test_an_unknown_subject_is_told() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert f"no subject speed: choose from {', '.join(SUBJECTS)}" in ended.stderr


def test_a_missing_program_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main(["stops"]) == 1
    assert "gcc is needed: apt install gcc" in capsys.readouterr().err
