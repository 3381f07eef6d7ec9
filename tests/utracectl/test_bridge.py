from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.utracectl.conftest import ROOT
from tests.utracectl.server import Answer, Server, event, response
from utracectl.bridge import Bridge, Lines

Serve = Callable[[Answer], Server]
MAX_PACKET = 204_800


def request(number: Any, method: str = "m", **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def answered(asked: dict[str, Any]) -> list[Any]:
    return [response(asked, {"method": asked["method"]})]


@contextmanager
def stdio(folder: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Give a running ``utracectl stdio`` that talks to the server of ``serve``."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    process = subprocess.Popen(
        [sys.executable, "-m", "utracectl", "stdio"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(folder / "socket")},
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(folder: Path, data: bytes) -> tuple[list[Any], int, bytes]:
    """Return what comes out where ``data`` goes in, the exit status, and what was said."""
    with stdio(folder) as process:
        out, said = process.communicate(data, timeout=60)
    return [json.loads(line) for line in out.splitlines()], process.returncode, said


# Lines


@given(st.lists(st.binary(max_size=12), max_size=10), st.data())
def test_lines_are_the_same_however_they_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(pieces)
    expected = [
        None if len(line) > 8 else line.strip() for line in stream.split(b"\n") if line.strip() or len(line) > 8
    ]
    lines = Lines(8)
    found: list[bytes | None] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += lines.feed(stream[:size])
        stream = stream[size:]
    found += lines.feed(b"")
    assert found == expected


# What goes through


def test_requests_and_replies(serve: Serve, tmp_path: Path) -> None:
    server = serve(answered)
    found, status, said = lines_of(
        tmp_path, request(1, "a") + b"\n\n \r\n" + request("x", "b") + b"\r\n" + request(3, "c")
    )
    assert (status, said) == (0, b"")
    assert found == [
        {"jsonrpc": "2.0", "id": number, "result": {"method": method}}
        for number, method in [(1, "a"), ("x", "b"), (3, "c")]
    ]
    assert [asked["method"] for asked in server.requests] == ["a", "b", "c"]


def test_nothing_asked_is_nothing_said(serve: Serve, tmp_path: Path) -> None:
    serve(answered)
    assert lines_of(tmp_path, b"") == ([], 0, b"")


def test_a_notification_is_not_waited_for(tmp_path: Path) -> None:
    notification = b'{"jsonrpc": "2.0", "method": "m"}'
    error = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m"}}'
    assert embedded(tmp_path, b"\n".join([notification, b"[" + notification + b"]", error])) == ([], 0, b"")


def test_the_daemon_s_line_breaks_end_no_line(serve: Serve, tmp_path: Path) -> None:
    serve(lambda asked: [b'{"jsonrpc": "2.0",\n "id": 1,\n "result": {}}'])
    with stdio(tmp_path) as process:
        out, _ = process.communicate(request(1), timeout=60)
    assert out == b'{"jsonrpc": "2.0",  "id": 1,  "result": {}}\n'


def test_replies_that_come_late_are_waited_for_after_the_end_of_stdin(serve: Serve, tmp_path: Path) -> None:
    waiting: list[Any] = []

    def answer(asked: dict[str, Any]) -> list[Any]:
        waiting.append(response(asked, asked["id"]))
        return [event(kind="lost", count=1)] if len(waiting) < 3 else [event(kind="lost", count=2), *reversed(waiting)]

    serve(answer)
    found, status, _ = lines_of(tmp_path, b"\n".join(map(request, (1, 2, 3))))
    assert status == 0
    assert [each.get("id") for each in found] == [None, None, None, 3, 2, 1]


# What does not


def test_a_line_that_is_too_large(serve: Serve, tmp_path: Path) -> None:
    server = serve(answered)
    fits = request(1, pad="")
    fits = request(1, pad="x" * (MAX_PACKET - len(fits)))
    found, status, _ = lines_of(tmp_path, fits.replace(b"x", b"xx", 1) + b"\n" + fits + b"\n" + b"y" * 1_000_000)
    assert status == 0
    errors = [each["error"] for each in found if "error" in each]
    assert [(each["code"], each["data"]["limit"], each["data"]["value"]) for each in errors] == [
        (-32009, "max_packet", MAX_PACKET)
    ] * 2
    assert [each["id"] for each in found if "error" in each] == [None, None]
    assert len(server.requests) == 1


def test_what_is_no_json_is_answered_as_the_daemon_does(tmp_path: Path) -> None:
    found, status, _ = embedded(tmp_path, b"nope\n\x81\xa1a\x01\n[]\n{}\n\xff\n" + request(1, "daemon.hello"))
    assert status == 0
    codes = sorted(each["error"]["code"] for each in found if "error" in each)
    assert codes == [-32700, -32700, -32700, -32600, -32600]
    assert all(each["id"] is None for each in found if "error" in each)
    assert [each["result"]["server"] for each in found if "result" in each] == ["utraced"]


def embedded(folder: Path, data: bytes) -> tuple[list[Any], int, bytes]:
    """Do as ``lines_of`` where no daemon runs."""
    environment = {name: value for name, value in os.environ.items() if name != "UTRACED_SOCKET"}
    done = subprocess.run(
        [sys.executable, "-m", "utracectl", "stdio"],
        input=data, capture_output=True, timeout=60, check=False,
        env={**environment, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, done.stderr


def test_descriptors_cannot_pass_and_the_error_says_so(tmp_path: Path) -> None:
    pid = os.getpid()
    found, status, said = embedded(
        tmp_path,
        b"\n".join(
            [
                request(1, "memory.read", pid=pid, address="0x10", size=1, fd=0),
                request(2, "process.maps", pid=pid, **{"as": "fd"}),
                b"[" + request(3, "engine.list") + b"," + request(4, "process.maps", pid=pid, **{"as": "fd"}) + b"]",
            ]
        ),
    )
    assert (status, said) == (0, b"")
    flat = [reply for each in found for reply in (each if isinstance(each, list) else [each])]
    by_id = {reply["id"]: reply for reply in flat}
    for number in (1, 2, 4):
        assert by_id[number]["error"]["data"]["kind"] == "unsupported"
        assert "descriptors cannot pass" in by_id[number]["error"]["message"]
    assert by_id[3]["result"] == {"engines": []}


# Ends


def test_the_daemon_s_last_words_come_before_its_end(serve: Serve, tmp_path: Path) -> None:
    def answer(asked: dict[str, Any]) -> list[Any] | None:
        return [event(kind="lost", count=number) for number in range(50)] if asked["id"] == 1 else None

    serve(answer)
    with stdio(tmp_path) as process:
        assert process.stdin is not None
        process.stdin.write(request(1) + b"\n" + request(2) + b"\n")
        process.stdin.flush()
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b"utracectl: the daemon hung up\n"
    assert [json.loads(line)["params"]["count"] for line in out.splitlines()] == list(range(50))


def test_a_reader_that_goes_ends_it_though_nothing_is_to_be_written(serve: Serve, tmp_path: Path) -> None:
    serve(answered)
    with stdio(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request(1) + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) in {0, 1}
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_who_does_not_read_may_still_write_and_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    text = "x" * 1000

    def answer(asked: dict[str, Any]) -> list[Any]:
        return [*(event(kind="lost", count=number, text=text) for number in range(100)), response(asked, asked["id"])]

    serve(answer)
    with stdio(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # More than all the buffers on the way hold: a bridge that waited for its reader would not read this.
        for number in range(20):
            process.stdin.write(request(number) + b"\n")
        process.stdin.flush()
        process.stdin.close()
        process.stdin = None
        found = [json.loads(line) for line in process.stdout]
        assert process.wait(60) == 0
    assert [each["id"] for each in found if "id" in each] == list(range(20))
    assert [each["params"]["count"] for each in found if "params" in each] == list(range(100)) * 20


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_closed_streams_are_told(closed: str, utracectl: Callable[..., Any], tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m utracectl stdio {closed}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "UTRACED_SOCKET": str(tmp_path / "socket")},
    )  # fmt: skip
    assert done.returncode == 125
    assert b"is closed: connect it to what talks to the daemon" in done.stderr


def test_a_kill_leaves_nothing_to_do(serve: Serve, tmp_path: Path) -> None:
    serve(answered)
    with stdio(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


# In this process: both ends in the test's hands


@contextmanager
def carried(packets: Sequence[bytes]) -> Iterator[tuple[socket.socket, int, int, list[int]]]:
    """Give the daemon's end of a bridge's socket, stdin to write to, stdout to read from, and what ``run`` returns."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stdin, to_stdin = os.pipe()
    from_stdout, stdout = os.pipe()
    ours.setblocking(False)
    returned: list[int] = []
    thread = threading.Thread(target=lambda: returned.append(Bridge(ours, stdin, stdout).run()))
    for packet in packets:
        theirs.send(packet)
    thread.start()
    try:
        yield theirs, to_stdin, from_stdout, returned
    finally:
        thread.join()
        for fd in (stdin, from_stdout, stdout):
            os.close(fd)
        theirs.close()
        ours.close()


def test_descriptors_that_come_anyway_are_closed() -> None:
    read, write = os.pipe()
    with carried([]) as (theirs, to_stdin, from_stdout, returned):
        os.write(to_stdin, request(1) + b"\n")
        assert json.loads(theirs.recv(9999))["id"] == 1
        socket.send_fds(theirs, [b'{"jsonrpc":"2.0","id":1,"result":{"fd":0}}'], [write])
        os.close(write)
        assert json.loads(os.read(from_stdout, 9999))["error"]["data"]["kind"] == "unsupported"
        # The pipe has an end only when every copy of it is closed.
        assert os.read(read, 1) == b""
        os.close(to_stdin)
    assert returned == [0]
    os.close(read)


def test_events_do_not_count_as_replies() -> None:
    events = [event(kind="lost", count=1), [event(kind="lost", count=2)]]
    with carried([json.dumps(each).encode() for each in events]) as (theirs, to_stdin, from_stdout, returned):
        os.write(to_stdin, request(1) + b"\n")
        os.close(to_stdin)
        theirs.recv(9999)
        out = b""
        while out.count(b"\n") < 2:
            out += os.read(from_stdout, 9999)
        assert returned == []
        theirs.send(b'{"jsonrpc":"2.0","id":1,"result":{}}')
        assert json.loads(os.read(from_stdout, 9999)) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert returned == [0]
