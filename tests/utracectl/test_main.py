from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from utracectl import VERSION, main

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"anyio", "asyncio", "msgspec", "ptrace", "utraced.model", "utraced.errors", "ctypes", "inspect", "subprocess",
         "utracectl.client"}  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [["--version"], ["-V"], ["--help"], ["trace", "--help"], ["trace"], ["trace", "--nonsense"], ["ps", "x"], ["nope"]],
    ids=" ".join,
)
def test_nothing_heavy_is_loaded_before_a_verb_runs(words: list[str]) -> None:
    program = (
        "import sys; sys.argv[0] = 'utracectl'; from utracectl.main import main; main(sys.argv[1:]);"
        "print(*sorted(m for m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.append({str(ROOT)!r}); {program}", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "argparse" in loaded
    assert not loaded & HEAVY


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"utracectl {VERSION}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {verb} " in text for verb in main.VERBS)


def test_every_verb_has_a_file_and_is_listed() -> None:
    files = {path.stem for path in (ROOT / "utracectl" / "verbs").glob("*.py")} - {"__init__"}
    assert files == set(main.VERBS)


@pytest.mark.parametrize("verb", main.VERBS)
def test_help_of_a_verb_has_an_example_and_the_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"example: utracectl {verb} " in text
    assert "exit status:" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name a verb, as in utracectl trace -- ls (see utracectl --help)"),
        (["tarce"], "unknown verb 'tarce': did you mean 'trace'?"),
        (["xyzzy"], "unknown verb 'xyzzy': to trace a command, write utracectl trace -- xyzzy"),
        (["-f", "ls"], "unknown option -f: name a verb first (see utracectl --help)"),
        (["trace", "--nope"], "unrecognized arguments: --nope (see utracectl trace --help)"),
        (["trace", "-s", "x", "ls"],
         "argument -s/--string-limit: 'x' is no number of bytes from 0 to 65536 (see utracectl trace --help)"),
        (["trace"], "name a command to trace, or a process with -p (see utracectl trace --help)"),
        (["trace", "-p", "abc"],
         "-p abc: name a process by its number, as utracectl ps shows (see utracectl trace --help)"),
        (["trace", "-e", "opne", "ls"],
         "-e no such system call or class: 'opne'; did you mean 'open'? (see utracectl trace --help)"),
        (["trace", "-e", "signal=none", "ls"],
         "-e signal=… is not supported: only -e trace=SET is (see utracectl trace --help)"),
        (["info", "0"],
         "argument pid: '0' is no process: name one by its number, as utracectl ps shows (see utracectl info --help)"),
        (["maps", "\x1b[1m"],
         ("argument pid: '\\x1b[1m' is no process: name one by its number, as utracectl ps shows"
          " (see utracectl maps --help)")),
        (["-H"], "-H: name a host, as for ssh (see utracectl --help)"),
        (["-H", "-oProxyCommand=x", "ps"],
         ("argument -H/--host: '-oProxyCommand=x' is no host: name one as for ssh, HOST or USER@HOST,"
          " not beginning with - (see utracectl ps --help)")),
        (["ps", "-H", "-oProxyCommand=x"], "argument -H/--host: expected one argument (see utracectl ps --help)"),
        (["-H", "h"], "name a verb, as in utracectl trace -- ls (see utracectl --help)"),
        (["-H", "h", "trace", "ls"],
         ("with -H, name running processes with -p; for a command: ssh h utracectl trace COMMAND"
          " (see utracectl trace --help)")),
        (["events", "1", "--events", "exec,nope"],
         ("argument --events: 'nope' is no event: they are clone, death, exec, exit, job_control, library,"
          " reap, signal, syscall_entry, syscall_exit, vfork_done (see utracectl events --help)")),
        (["call", "daemon.hello", "x"], "'x': a parameter is written NAME=VALUE (see utracectl call --help)"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_status_2(words: list[str], line: str, utracectl: Run) -> None:
    done = utracectl(*words)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"utracectl: {line}\n")


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["trace", "no-such-command"], 127,
         "no-such-command: command not found: check the spelling, or give its path"),
        (["trace", "--", "./nothing/here"], 127, "./nothing/here: No such file or directory: check the path"),
        (["trace", "--", "./plain"], 126,
         "./plain: cannot be executed: Permission denied: check its permissions (chmod +x) and those of its folders"),
        (["trace", "--", "/etc"], 126, "/etc: is a directory: name a program in it"),
        (["trace", "-o", "/nowhere/file", "true"], 125,
         "cannot write to /nowhere/file (No such file or directory): name a file that you may write with -o"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(
    words: list[str], status: int, line: str, utracectl: Run, tmp_path: Path
) -> None:
    (tmp_path / "plain").touch(0o644)
    done = utracectl(*words)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (status, b"", f"utracectl: {line}\n")


def test_help_has_each_verb_in_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for title, verbs in main.GROUPS.items():
        start = lines.index(f"{title}:") + 1
        assert [line.split()[0] for line in lines[start : start + len(verbs)]] == list(verbs)
        assert lines[start + len(verbs)] == ""


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["trace", "--help"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_mistake(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "utracectl", *words],
        stdout=write, stderr=subprocess.PIPE, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    os.close(write)
    # argparse passes over it where the help is long.
    assert done.returncode in {0, 1}
    assert done.stderr == b""


def test_a_stdout_that_is_full_is_told() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "utracectl", "--help"],
            stdout=full, stderr=subprocess.PIPE, cwd=ROOT, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 125
    assert done.stderr == b"utracectl: cannot write to stdout (No space left on device)\n"
