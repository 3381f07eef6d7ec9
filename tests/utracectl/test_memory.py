from __future__ import annotations

import base64
import ctypes
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import child
from tests.live.terminal import terminal
from tests.utracectl.server import Answer, Server, response
from tests.utracectl.targets import environment
from tests.utracectl.targets import utracectl as run
from utracectl.memory import PIECE, bytes_of
from utracectl.messages import WrongUsage

Serve = Callable[[Answer], Server]
Run = Callable[..., Any]
TEXT = ctypes.create_string_buffer(b"what a target has in its memory \x1b[1m")
ADDRESS = ctypes.addressof(TEXT)


@pytest.mark.parametrize(
    ("word", "data"), [("cc", b"\xcc"), ("48 89 E5", b"H\x89\xe5"), ("0x7f454c46", b"\x7fELF"), ("", b"")]
)
def test_bytes(word: str, data: bytes) -> None:
    assert bytes_of(word) == data


def test_bytes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0\xff")
    assert bytes_of(f"@{tmp_path}/file") == b"\0\xff"
    with pytest.raises(WrongUsage, match="No such file"):
        bytes_of(f"@{tmp_path}/none")
    with pytest.raises(WrongUsage, match="null"):
        bytes_of("@a\0b")


@pytest.mark.parametrize("word", ["c", "ccx", "hello", "1 2", "²²"])
def test_what_are_no_bytes(word: str) -> None:
    with pytest.raises(WrongUsage, match="hexadecimal"):
        bytes_of(word)


def contents(request: dict[str, Any]) -> dict[str, Any]:
    """Return memory where every byte is the lowest of its 64 KiB page's number; the fourth is not there."""
    address, size = int(request["params"]["address"], 16), request["params"]["size"]
    if address + size > 4 * PIECE:
        error = {"kind": "bad_address", "address": hex(4 * PIECE), "done": max(0, 4 * PIECE - address), "hint": "No."}
        return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32007, "message": "gone", "data": error}}
    return response(request, {"data": bytes([address // PIECE]) * size})


def test_more_than_a_reply_carries_is_read_piece_by_piece(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    server = serve(lambda request: [contents(request)])
    done = utracectl("mem", "read", "5", hex(PIECE), str(2 * PIECE + 5), "--raw")
    assert (done.returncode, done.stderr) == (0, b"")
    expected = b"\1" * PIECE + b"\2" * PIECE + b"\3" * 5
    assert done.stdout == expected
    assert [each["params"]["size"] for each in server.requests] == [PIECE, PIECE, 5]
    assert utracectl("mem", "read", "5", hex(PIECE), str(2 * PIECE + 5), "-o", "out").stdout == b""
    assert (tmp_path / "out").read_bytes() == expected
    shown = utracectl("mem", "read", "--json", "5", hex(PIECE), "3")
    assert json.loads(shown.stdout) == {"address": "0x10000", "data": base64.b64encode(b"\1\1\1").decode()}


@pytest.mark.parametrize(("start", "left"), [(4 * PIECE - 8, 8), (3 * PIECE - 8, PIECE + 8), (4 * PIECE, 0)])
def test_what_is_there_is_shown_before_the_error(serve: Serve, utracectl: Run, start: int, left: int) -> None:
    serve(lambda request: [contents(request)])
    done = utracectl("mem", "read", "5", hex(start), str(2 * PIECE), "--raw")
    assert (done.returncode, len(done.stdout), done.stderr) == (1, left, b"utracectl: gone: No.\n")


def test_writing_tells_how_far_it_came(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        if request["method"] == "engine.attach":
            return [response(request, {"engine": 1, "pid": 5, "start_time": 1, "threads": []})]
        if request["params"].get("address") == hex(2 * PIECE):
            data = {"kind": "bad_address", "address": "0x1", "done": 3, "hint": "No."}
            error = {"code": -32007, "message": "gone", "data": data}
            return [{"jsonrpc": "2.0", "id": request["id"], "error": error}]
        return [response(request, {"size": 1})]

    server = serve(answer)
    done = utracectl("mem", "write", "5", "0x1000", "cc 90")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"2 bytes written at 0x1000\n", b"")
    assert server.requests[1]["params"] == {"engine": 1, "address": "0x1000", "data": b"\xcc\x90"}
    (tmp_path / "file").write_bytes(b"x" * (PIECE + 10))
    done = utracectl("mem", "write", "5", hex(PIECE), "@file")
    assert done.returncode == 1
    assert done.stderr == f"utracectl: gone: No. {PIECE + 3} of {PIECE + 10} bytes are written.\n".encode()
    assert json.loads(utracectl("mem", "write", "--json", "5", "0x8", "cc").stdout) == {"size": 1}
    assert utracectl("mem", "write", "5", "0x8", "").returncode == 2


def test_searching_goes_on_to_the_end_or_the_number_asked_for(serve: Serve, utracectl: Run) -> None:
    def answer(request: dict[str, Any]) -> list[Any]:
        start = int(request["params"].get("start", "0x0"), 16)
        found = [hex(start + 1), hex(start + 2)][: request["params"].get("limit", 1000)]
        return [response(request, {"addresses": found, **({} if start >= 32 else {"next": hex(start + 16)})})]

    server = serve(answer)
    done = utracectl("mem", "search", "5", "cc")
    assert done.stdout.split() == [b"0x1", b"0x2", b"0x11", b"0x12", b"0x21", b"0x22"]
    done = utracectl("mem", "search", "5", "-t", "é", "-n", "3", "--start", "0x10", "--end", "0xff", "--json")
    assert json.loads(done.stdout) == {"addresses": ["0x11", "0x12", "0x21"]}
    assert server.requests[3]["params"] == {
        "pid": 5, "pattern": "é".encode(), "start": "0x10", "end": "0xff", "limit": 3
    }  # fmt: skip
    for words in (["''"[:0]], ["-t", "x" * 5000]):
        assert utracectl("mem", "search", "5", *words).returncode == 2


def test_bytes_are_not_written_to_a_terminal_as_they_are(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "utracectl", "mem", "read", "5", "0x1000", "4", "--raw"]
    with terminal(words, environment(tmp_path)) as shown:
        shown.expect("name a file with -o")
        assert shown.process.wait(60) == 2


def test_of_a_real_process(tmp_path: Path) -> None:
    with child() as pid:
        done = run(tmp_path, "mem", "read", pid, hex(ADDRESS), "0x20")
        assert done.stdout.startswith(f"{ADDRESS:08x}: 77 68 61 74 20 61".encode())
        assert b"what a target ha" in done.stdout
        found = run(tmp_path, "mem", "search", pid, "-t", "what a target has", "--start", hex(ADDRESS), "-n", 1)
        assert found.stdout == f"{ADDRESS:#x}\n".encode()
        assert run(tmp_path, "mem", "write", pid, hex(ADDRESS), "74 68").stdout.startswith(b"2 bytes written")
        assert run(tmp_path, "mem", "read", pid, hex(ADDRESS), "4", "--raw").stdout == b"that"
        nowhere = run(tmp_path, "mem", "read", pid, "0x8", "4")
        assert (nowhere.returncode, nowhere.stdout) == (1, b"")
        assert b"0x8" in nowhere.stderr
    assert os.fsdecode(TEXT.value[:4]) == "what"
