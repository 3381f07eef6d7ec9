from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.children import child
from tests.live.machine import until
from tests.utracectl.conftest import ROOT
from tests.utracectl.server import HELLO, Answer, Server, event, response
from utracectl.client import Client, ConnectionEnded, connect
from utracectl.connect import NotConnected
from utraced.api.daemon import Hello
from utraced.errors import Unsupported

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[[Answer], Server]

SSH = """#!/bin/sh
# Runs the command here; notes how it was called, and whether Ctrl-C would end it.
echo "$@" >"$0.words"
grep SigIgn /proc/self/status >"$0.ignored"
case $1 in
nowhere) echo "ssh: Could not resolve hostname nowhere: Name or service not known" >&2; exit 255 ;;
silent) exit 255 ;;
bare) echo "sh: 1: utracectl: not found" >&2; exit 127 ;;
slow) exec cat /dev/zero >/dev/null ;;
noisy) printf 'a banner \\033[31m\\n\\n' >&2 ;;
esac
shift
exec sh -c "$*"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a fake ssh on PATH, and a utracectl for it to run, which finds the server of ``serve``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"ssh": SSH, "utracectl": f'#!/bin/sh\nexec {sys.executable} -m utracectl "$@"\n'}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("UTRACED_SOCKET", str(tmp_path / "socket"))
    return folder / "ssh"


def children() -> set[str]:
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def hello(request: dict[str, Any]) -> list[Any]:
    return [response(request, HELLO)]


def test_ssh_is_called_so_and_keeps_ctrl_c_ignored(serve: Serve, ssh: Path) -> None:
    server = serve(hello)
    before = signal.getsignal(signal.SIGINT)
    with connect(host="me@host") as client:
        assert client.call(Hello()).server == "utraced"
    assert signal.getsignal(signal.SIGINT) is before
    assert Path(f"{ssh}.words").read_text() == "me@host utracectl stdio\n"
    ignored = int(Path(f"{ssh}.ignored").read_text().split()[1], 16)
    assert ignored & 1 << (signal.SIGINT - 1)
    assert not ignored & 1 << (signal.SIGPIPE - 1)
    assert server.requests[0]["method"] == "daemon.hello"


def test_ssh_is_gone_when_the_client_is_closed(serve: Serve, ssh: Path) -> None:
    serve(hello)
    before, others = os.listdir("/proc/self/fd"), children()
    with connect(host="host") as client:
        client.call(Hello())
        assert children() > others
    assert children() == others
    # The server is a thread of ours, and closes its end a moment later.
    until(lambda: os.listdir("/proc/self/fd") == before, "the end of all descriptors")


def test_an_ssh_that_does_not_look_at_its_streams_is_ended(ssh: Path) -> None:
    began, others = monotonic(), children()
    connect(host="slow").close()
    assert monotonic() - began < 30
    assert children() == others


def test_a_thread_may_connect(serve: Serve, ssh: Path) -> None:
    serve(hello)
    found: list[str] = []

    def talk() -> None:
        with connect(host="host") as client:
            found.append(client.call(Hello()).server)

    thread = threading.Thread(target=talk)
    thread.start()
    thread.join()
    assert found == ["utraced"]


def test_events_before_the_end_are_not_lost(serve: Serve, ssh: Path) -> None:
    def answer(request: dict[str, Any]) -> list[Any] | None:
        if request["method"] == "last":
            return None
        return [*(event(kind="lost", count=number) for number in range(300)), response(request, HELLO)]

    serve(answer)
    with connect(host="host") as client:
        client.call(Hello())
        with pytest.raises(ConnectionEnded, match=r"^the connection to host ended: the daemon hung up$"):
            client.call_raw("last")
        assert len(client.poll(0)) == 300
        with pytest.raises(ConnectionEnded, match="the daemon hung up"):
            client.poll(0)


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(NotConnected, match="is no host"):
        connect(host=host)


def test_where_there_is_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotConnected, match=r"cannot run ssh \(No such file or directory\): install an ssh client"):
        connect(host="host")
    assert os.listdir("/proc/self/fd") == before


def test_descriptors_cannot_pass(serve: Serve, ssh: Path) -> None:
    serve(lambda request: hello(request) if "id" in request else [])
    with connect(host="host") as client, open(os.devnull, "rb") as file:
        with pytest.raises(Unsupported, match="descriptors cannot pass"):
            client.call_raw("memory.read", {"fd": 0}, [file.fileno()])
        assert client.call(Hello()).server == "utraced"


# The command


@pytest.mark.parametrize(
    ("host", "status", "line"),
    [
        ("nowhere", 125, "cannot reach nowhere: ssh: Could not resolve hostname nowhere: Name or service not known"),
        ("silent", 125, "cannot reach silent: ssh failed"),
        ("bare", 125, "there is no utracectl on bare: install it where its ssh finds commands"),
    ],
)
def test_what_ssh_fails_of_is_one_line(host: str, status: int, line: str, ssh: Path, utracectl: Run) -> None:
    done = utracectl("-H", host, "ps")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (status, b"", f"utracectl: {line}\n")


def test_a_far_utracectl_that_cannot_connect_is_heard(ssh: Path, utracectl: Run, tmp_path: Path) -> None:
    done = utracectl("ps", "-H", "host")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert said.startswith(
        f"utracectl: the connection to host ended: no utraced answers at {tmp_path}/socket (No such "
    )
    assert said.count("\n") == 1


def test_what_a_host_says_is_shown_and_harmless(serve: Serve, ssh: Path, utracectl: Run) -> None:
    serve(lambda request: [response(request, {"processes": []})])
    done = utracectl("ps", "--host=noisy")
    assert (done.returncode, done.stderr) == (0, b"utracectl: noisy: a banner \\x1b[31m\n")


@pytest.mark.parametrize(
    "words",
    ["-H host ps", "-Hhost ps", "--host host ps", "--host=host ps", "ps -H host", "ps -Hhost", "ps --host=host"],
)
def test_the_option_stands_before_or_after_the_verb(words: str, serve: Serve, ssh: Path, utracectl: Run) -> None:
    serve(lambda request: [response(request, {"processes": []})])
    assert utracectl(*words.split()).returncode == 0
    assert Path(f"{ssh}.words").read_text() == "host utracectl stdio\n"


def test_stdio_becomes_ssh(serve: Serve, ssh: Path, tmp_path: Path) -> None:
    serve(hello)
    done = subprocess.run(
        [sys.executable, "-m", "utracectl", "-H", "host", "stdio"],
        input=b'{"jsonrpc":"2.0","id":1,"method":"daemon.hello"}\n', capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["result"]["server"], done.stderr) == (0, "utraced", b"")


# With a worker at the other end


@pytest.fixture
def far(ssh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no daemon run on the other host."""
    monkeypatch.delenv("UTRACED_SOCKET")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def command(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "utracectl", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["info", "maps", "ps"])
def test_looking(verb: str, far: None) -> None:
    with child() as pid, command("-H", "host", verb, str(pid)) as process:
        out, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert (str(pid) in out.decode()) or verb == "maps"
    assert len(out.splitlines()) > 1


def test_a_trace_ends_by_ctrl_c_with_all_it_has_to_tell(far: None) -> None:
    with child() as pid, command("-H", "host", "trace", "-p", str(pid), start_new_session=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"utracectl: Process {pid} attached\n".encode()
        assert os.read(process.stderr.fileno(), 9999).startswith(b"pause(")
        # As the terminal does: to ssh and to what it runs here, too.
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.decode() == f" <detached ...>\nutracectl: Process {pid} detached\n"


def test_the_threads_of_a_far_process_are_counted_there(far: None) -> None:
    program = "import threading; threading.Thread(target=input).start(); print(flush=True)"
    with (
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target,
        command("-H", "host", "trace", "-p", str(target.pid)) as process,
    ):
        assert target.stdout is not None
        assert process.stderr is not None
        target.stdout.readline()
        assert process.stderr.readline() == f"utracectl: Process {target.pid} attached with 2 threads\n".encode()
        target.communicate(b"\n", timeout=60)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    of_two, exited, _ = said.partition(b" +++ exited with 0 +++\n")
    assert exited
    assert all(line.startswith(b"[pid ") for line in of_two.splitlines()), said.decode()


def test_a_closed_client_undoes_what_it_asked_for(far: None) -> None:
    def tracer(pid: int) -> str:
        return next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "TracerPid" in line)

    with child() as pid:
        client: Client = connect(host="host")
        with client:
            client.call_raw("engine.attach", {"pid": pid, "hold": True})
            assert tracer(pid).split()[1] != "0"
        # The far end ends before ssh does, which was waited for.
        deadline = monotonic() + 30
        while tracer(pid).split()[1] != "0":
            assert monotonic() < deadline
            os.sched_yield()
