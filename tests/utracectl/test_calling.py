from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.utracectl.server import Answer, Server, response
from utracectl.calling import read_parameters
from utracectl.messages import WrongUsage

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[[Answer], Server]


@pytest.mark.parametrize(
    ("words", "params"),
    [
        ([], {}),
        (["pid=5"], {"pid": 5}),
        (["a=true", "b=null", "c=[1]", 'd={"e":"f"}'], {"a": True, "b": None, "c": [1], "d": {"e": "f"}}),
        (["address=0x7f00"], {"address": "0x7f00"}),
        (["text=some words=here", "empty=", 'quoted="5"'], {"text": "some words=here", "empty": "", "quoted": "5"}),
        (["deep=" + "[" * 100_000], {"deep": "[" * 100_000}),
    ],
)
def test_parameters(words: list[str], params: dict[str, Any]) -> None:
    assert read_parameters(words) == (params, [])


def test_files_are_passed(tmp_path: Path) -> None:
    params, fds = read_parameters([f"fd=@{tmp_path / 'new'}", "other=@/dev/null"])
    assert params == {"fd": 0, "other": 1}
    os.write(fds[0], b"x")
    assert (tmp_path / "new").read_bytes() == b"x"
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("words", [["x"], ["=x"], ["a=1", "a=2"], ["a=@/nowhere/x"], ["a=@/dev/null", "b=@/"]])
def test_wrong_parameters(words: list[str]) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(WrongUsage):
        read_parameters(words)
    assert os.listdir("/proc/self/fd") == before


def test_call(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    result = {"text": "\x1b\x7f\u202eü", "n": [1, None]}
    server = serve(lambda request: [response(request, result)])
    done = utracectl("call", "memory.read", "pid=5", "address=0x10", f"fd=@{tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == result
    assert done.stdout.decode().replace("\n", "").isprintable()
    assert b'\n  "n": [' in done.stdout
    assert server.requests[0]["method"] == "memory.read"
    assert server.requests[0]["params"] == {"pid": 5, "address": "0x10", "fd": 0}
    assert len(server.fds[0]) == 1
    assert utracectl("call", "memory.read", "--json").stdout.count(b"\n") == 1


def mapped(pid: int, *words: str) -> list[str]:
    return ["call", "process.maps", f"pid={pid}", "as=fd", *words]


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, utracectl: Run) -> Run:
    """Run utracectl with a worker of its own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return lambda *words: utracectl(*words, UTRACED_SOCKET="")


def test_the_contents_of_a_descriptor_go_to_a_file(private: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old" * 1_000_000)
    done = private(*mapped(os.getpid(), "-o", "out"))
    assert (done.returncode, done.stderr) == (0, b"")
    data = (tmp_path / "out").read_bytes()
    assert len(data) == json.loads(done.stdout)["size"]
    assert b"/" in data


def test_a_descriptor_that_goes_nowhere_is_told(private: Run) -> None:
    done = private(*mapped(os.getpid()))
    assert (done.returncode, json.loads(done.stdout)["fd"]) == (1, 0)
    assert done.stderr == (
        b"utracectl: the result came with a file descriptor: name a file for its contents with -o FILE\n"
    )


def test_a_file_that_nothing_is_for_is_told(private: Run) -> None:
    done = private("call", "engine.list", "-o", "out")
    assert (done.returncode, json.loads(done.stdout)) == (1, {"engines": []})
    assert done.stderr == b"utracectl: the result came with no file descriptor: nothing is written to out\n"


def test_a_file_that_cannot_be_made_is_told_before_anything_is_asked(serve: Serve, utracectl: Run) -> None:
    server = serve(lambda request: [response(request, {})])
    done = utracectl("call", "daemon.hello", "-o", "/nowhere/x")
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr.startswith(b"utracectl: cannot write to /nowhere/x (No such file or directory)")
    assert server.requests == []


def test_a_full_disk_is_told(private: Run) -> None:
    done = private(*mapped(os.getpid(), "-o", "/dev/full"))
    assert done.returncode == 125
    assert done.stderr == (
        b"utracectl: cannot write to /dev/full (No space left on device): its contents are not complete\n"
    )


def test_an_error(serve: Serve, utracectl: Run) -> None:
    error = {"code": -32601, "message": "no method x\x1b", "data": {"kind": "method_not_found", "hint": "Look."}}
    serve(lambda request: [{"jsonrpc": "2.0", "id": request["id"], "error": error}])
    done = utracectl("call", "x")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"utracectl: no method x\\x1b: Look.\n")
