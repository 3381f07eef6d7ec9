from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.broker.system import system
from tests.children import child, ended, libc, needs_root
from tests.utracectl.conftest import ROOT
from tests.utracectl.server import HELLO, Answer, Server, response
from utracectl import VERSION
from utracectl.doctor import Report, report_lines
from utraced.api.daemon import Finding

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[[Answer], Server]

WELCOME = HELLO | {"version": VERSION, "pid_namespace": os.stat("/proc/self/ns/pid").st_ino}
GOOD = {"subject": "conclusion", "verdict": "works", "text": "You can."}


def error(request: dict[str, Any], code: int, **data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": "it says no", "data": data}}


def server(check: Callable[[dict[str, Any]], Any], welcome: Any = WELCOME) -> Answer:
    """Return what answers hello, and the check as given."""

    def answer(request: dict[str, Any]) -> list[Any]:
        return [response(request, welcome) if request["method"] == "daemon.hello" else check(request)]

    return answer


def by_subject(findings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {finding["subject"]: finding for finding in findings}


def test_groups_marks_and_hints() -> None:
    report = Report(
        (Finding(subject="utracectl", verdict="works", text="version 1"),),
        Finding(subject="conclusion", verdict="no", text="You cannot.", hint="Do this."),
        (Finding(subject="yama", verdict="limited", text="some", hint="Do that."),),
        (Finding(subject="owner", verdict="no", text="another"),),
    )
    assert list(report_lines(report, width=None)) == [
        "This side",
        "  works    utracectl        version 1",
        "",
        "The daemon",
        "  limited  yama             some",
        "                              Do that.",
        "",
        "The process",
        "  no       owner            another",
        "",
        "You cannot.",
        "Do this.",
    ]


def test_long_lines_are_broken_and_nothing_is_lost() -> None:
    words = " ".join(f"word{number}" for number in range(40))
    report = Report(
        (Finding(subject="a", verdict="works", text=words, hint=words),),
        Finding(subject="conclusion", verdict="no", text=words),
    )
    lines = list(report_lines(report, width=70))
    assert max(map(len, lines)) <= 70
    assert " ".join(lines).split()[4:] == [*words.split(), *words.split(), *words.split()]
    assert lines[2].startswith(" " * 28 + "word")


def test_nothing_that_a_terminal_obeys() -> None:
    bad = "x\x1b[1m\n\u202e"
    report = Report(
        (Finding(subject=bad, verdict="works", text=bad, hint=bad),),
        Finding(subject="conclusion", verdict="no", text=bad, hint=bad),
    )
    for line in report_lines(report, width=40):
        assert line.isprintable()


def test_without_a_daemon(utracectl: Run, tmp_path: Path) -> None:
    done = utracectl("doctor", "--json", UTRACED_SOCKET="", XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, b"")
    told = json.loads(done.stdout)
    connection = by_subject(told["client"])["connection"]
    assert connection["verdict"] == "works"
    assert f"{tmp_path}/utraced/utraced.sock (No such file or directory)" in connection["text"]
    assert by_subject(told["client"])["daemon"]["text"].startswith(f"version {VERSION}, process ")
    assert "attach" in by_subject(told["daemon"])
    assert told["conclusion"]["verdict"] == "works"
    assert "process" not in told


def test_a_process(utracectl: Run, tmp_path: Path) -> None:
    with child() as pid:
        done = utracectl("doctor", str(pid), UTRACED_SOCKET="", XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert "The process" in lines
    assert "  works    tracer           nobody traces it" in lines
    assert lines[-1].startswith(f"You can trace process {pid} (")


def test_a_process_that_another_traces(utracectl: Run, tmp_path: Path) -> None:
    def seize(pid: int) -> None:
        assert libc().ptrace(0x4206, pid, 0, 0) == 0

    with child() as pid, child(lambda: seize(pid)) as tracer:
        done = utracectl("doctor", str(pid), UTRACED_SOCKET="", XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, b"")
    conclusion, hint = done.stdout.decode().splitlines()[-2:]
    assert conclusion.startswith(f"You cannot trace process {pid} (")
    assert conclusion.endswith(f"({tracer}).")
    assert hint.startswith("Let that tracer go first")


def test_a_process_that_is_not_there(utracectl: Run, tmp_path: Path) -> None:
    done = utracectl("doctor", "--json", str(ended()), UTRACED_SOCKET="", XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, b"")
    told = json.loads(done.stdout)
    assert told["conclusion"]["verdict"] == "no"
    assert "does not exist" in told["conclusion"]["text"]
    assert told["daemon"]


def test_a_socket_that_nobody_answers(utracectl: Run, tmp_path: Path) -> None:
    done = utracectl("doctor", "5")
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.decode().splitlines()[-2:] == [
        f"You cannot trace process 5: no utraced answers at {tmp_path}/socket (No such file or directory).",
        "Start it, or unset UTRACED_SOCKET to do without.",
    ]


def test_a_daemon_that_listens(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    served = serve(server(lambda request: response(request, {"findings": [], "conclusion": GOOD})))
    done = utracectl("doctor", "--json", "7")
    assert (done.returncode, done.stderr) == (0, b"")
    client = by_subject(json.loads(done.stdout)["client"])
    assert client["connection"]["text"] == f"to the daemon at {tmp_path}/socket"
    assert (client["daemon"]["verdict"], client["pids"]["verdict"]) == ("works", "works")
    assert served.requests[-1]["params"] == {"pid": 7}


def test_a_daemon_of_another_version_and_pid_namespace(serve: Serve, utracectl: Run) -> None:
    answer = {"findings": [], "conclusion": GOOD}
    serve(server(lambda request: response(request, answer), HELLO | {"version": "9", "access": "observe"}))
    client = by_subject(json.loads(utracectl("doctor", "--json").stdout)["client"])
    assert client["daemon"]["verdict"] == client["pids"]["verdict"] == "limited"
    assert client["daemon"]["text"].startswith("version 9, ")
    assert client["daemon"]["text"].endswith("lets this session only look")
    assert VERSION in client["daemon"]["hint"]


@pytest.mark.parametrize("welcome", [{}, {"version": 5}, [], {"limits": {"max_nothing": None}}])
def test_a_daemon_that_introduces_itself_in_another_way(welcome: Any, serve: Serve, utracectl: Run) -> None:
    serve(server(lambda request: response(request, {"findings": [], "conclusion": GOOD}), welcome))
    done = utracectl("doctor", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert by_subject(json.loads(done.stdout)["client"])["daemon"]["verdict"] == "limited"


def test_a_daemon_that_is_too_old_to_be_asked(serve: Serve, utracectl: Run) -> None:
    serve(server(lambda request: error(request, -32601, kind="method_not_found")))
    done = utracectl("doctor")
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.decode().splitlines()[-2].endswith("is too old to say.")


@pytest.mark.parametrize(("named", "status"), [(True, 1), (False, 0)], ids=["named", "found"])
def test_a_daemon_that_refuses_us(named: bool, status: int, serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    """Where nobody named it, a private worker does what it can."""
    if not named:
        (tmp_path / "utraced").mkdir()
        (tmp_path / "utraced" / "utraced.sock").symlink_to(tmp_path / "socket")
    serve(lambda request: [error(request, -32001, kind="permission_denied", reason="policy", hint="Do without.")])
    environment = {} if named else {"UTRACED_SOCKET": "", "XDG_RUNTIME_DIR": str(tmp_path)}
    done = utracectl("doctor", "--json", **environment)
    assert (done.returncode, done.stderr) == (status, b"")
    told = json.loads(done.stdout)
    connection = by_subject(told["client"])["connection"]
    assert connection["verdict"] == ("no" if named else "limited")
    assert "it says no" in connection["text"]
    assert ("daemon" in told and bool(told["daemon"])) is not named


@needs_root
def test_a_system_s_daemon_and_a_confined_process(tmp_path: Path) -> None:
    (tmp_path / "utraced").mkdir()
    command = [sys.executable, "-m", "utracectl", "doctor", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "UTRACED_SOCKET": "", "XDG_RUNTIME_DIR": str(tmp_path)}
    with system() as broker:
        (tmp_path / "utraced" / "utraced.sock").symlink_to(broker.address)
        said = [
            json.loads(subprocess.run([*words, *command], env=environment, stdout=subprocess.PIPE, check=True).stdout)
            for words in ([], ["setpriv", "--no-new-privs"])
        ]
        free, confined = (by_subject(told["client"]) for told in said)
        assert free["connection"]["text"] == f"to the daemon at {tmp_path}/utraced/utraced.sock"
    assert (confined["connection"]["verdict"], confined["confinement"]["verdict"]) == ("limited", "limited")
    assert "no_new_privs is set" in confined["connection"]["text"]
    assert [told["conclusion"]["verdict"] for told in said] == ["works", "works"]


def test_another_error_of_the_daemon_is_told(serve: Serve, utracectl: Run) -> None:
    serve(server(lambda request: error(request, -32603, kind="internal_error", hint="Report it.")))
    done = utracectl("doctor")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"utracectl: it says no: Report it.\n"


def test_another_host(serve: Serve, utracectl: Run, tmp_path: Path) -> None:
    served = serve(server(lambda request: response(request, {"findings": [], "conclusion": GOOD})))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(f"#!/bin/sh\nexec {sys.executable} -m utracectl stdio\n")
    (folder / "ssh").chmod(0o755)
    done = utracectl("doctor", "-H", "far", "--json", PATH=f"{folder}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, b"")
    client = by_subject(json.loads(done.stdout)["client"])
    assert client["connection"]["text"] == "to far, by ssh"
    assert "confinement" not in client
    assert served.requests[-1]["method"] == "daemon.check"


def test_lines_fit_the_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("=4H", 24, 72, 0, 0))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "UTRACED_SOCKET": "", "XDG_RUNTIME_DIR": str(tmp_path)}
    environment.pop("COLUMNS", None)
    with subprocess.Popen([sys.executable, "-m", "utracectl", "doctor"], stdout=theirs, env=environment):
        os.close(theirs)
        said = b""
        while part := _read(ours):
            said += part
    os.close(ours)
    lines = said.decode().splitlines()
    assert max(map(len, lines)) <= 72
    assert lines[-1] == "You can trace processes of every user." or os.getuid()
    assert b"\x1b" not in said


def _read(fd: int) -> bytes:
    """Return what is said on a terminal, nothing where nobody has it any more (EIO)."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
