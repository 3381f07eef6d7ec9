"""The clients in other languages: each is built, and run against a listening daemon and a program to step through."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from tests.api.test_call_records import fragment, record
from tests.children import child, ended
from tests.examples.scripted import Script, event, result, scripted
from tests.kernel.recording import needs_bpf
from tests.live.conftest import Programs
from tests.live.counters import counting
from tests.live.machine import PATIENCE, free, running, state, tracer, until
from utraced.api import call_records as records
from utraced.syscalls.abi import ABIS
from utraced.version import VERSION

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
LOOP = 40 * 3
"""Bytes of instructions of 3 bytes each in stepping.c's loop, before the jump."""

Command = list[str]


def tool(name: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: install it to run its example")
    return found


def run(command: Command, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def built(command: Command, environment: Mapping[str, str] | None = None) -> None:
    """Run a compiler, which must have nothing to say."""
    done = run(command, environment)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def c(folder: Path, name: str = "steps") -> Command:
    """Compile a C program."""
    program = str(folder / name)
    built([tool("gcc"), "-Wall", "-Wextra", "-Werror", "-O2", "-o", program, str(EXAMPLES / f"{name}.c")])
    return [program]


def go(folder: Path) -> Command:
    """Compile the Go program."""
    program = str(folder / "steps")
    built(
        [tool("go"), "build", "-o", program, str(EXAMPLES / "steps.go")],
        {"GOCACHE": str(folder / "cache"), "GOPATH": str(folder / "path"), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"},
    )
    return [program]


def rust(folder: Path) -> Command:
    """Compile the Rust program."""
    program = str(folder / "steps")
    built([tool("rustc"), "-D", "warnings", "-o", program, str(EXAMPLES / "steps.rs")])
    return [program]


def perl(_folder: Path) -> Command:
    """Return the command for the Perl program."""
    interpreter = tool("perl")
    if run([interpreter, "-MJSON::PP", "-e", "1"]).returncode:
        pytest.skip("perl has no JSON::PP: install perl, not perl-base alone")
    return [interpreter, str(EXAMPLES / "steps.pl")]


def ruby(_folder: Path) -> Command:
    """Return the command for the Ruby program."""
    return [tool("ruby"), "-w", str(EXAMPLES / "steps.rb")]


def shell(_folder: Path) -> Command:
    """Return the command for the shell script."""
    tool("socat")
    return [tool("sh"), str(EXAMPLES / "steps.sh")]


def node(folder: Path) -> Command:
    """Return the command for the Node program, which finds a utracectl of ours."""
    interpreter = tool("node")
    utracectl = folder / "utracectl"
    utracectl.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m utracectl "$@"\n')
    utracectl.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return [tool("env"), f"PATH={path}", interpreter, str(EXAMPLES / "steps.mjs")]


@pytest.fixture(scope="module", params=[c, go, rust, perl, ruby, shell, node], ids=lambda made: made.__name__)
def steps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Give the command of one language's client."""
    make: Callable[[Path], Command] = request.param
    return make(tmp_path_factory.mktemp(make.__name__))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile programs once."""
    return Programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the environment that names the socket of a listening daemon."""
    folder = tmp_path_factory.mktemp("daemon")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(folder / "notify"))
        told.settimeout(PATIENCE)
        process = Popen(
            [sys.executable, "-m", "utraced", "--socket", str(folder / "socket")],
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
        )
        try:
            # What it says when it cannot is on its stderr.
            while b"READY=1" not in told.recv(4096):
                pass
            yield {"UTRACED_SOCKET": str(folder / "socket")}
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_three_steps_are_three_instructions(
    steps: Command, daemon: dict[str, str], programs: Programs, tmp_path: Path
) -> None:
    with counting(programs("stepping"), tmp_path, 2) as target:
        target.works(only=1)
        loop = target.counters()[1]
        done = run([*steps, str(target.pid)], daemon)
        assert (done.returncode, done.stderr) == (0, "")
        lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
        assert [name for name, _ in lines[:-1]] == ["utraced", "engine", "pc", "sp", "step", "step", "step"]
        assert lines[0][1] == VERSION
        assert lines[1][1].split(" ", 1)[1] == f"holds process {target.pid}"
        at, *after = (int(lines[place][1], 16) for place in (2, 4, 5, 6))
        assert loop <= at <= loop + LOOP
        for pc in after:
            at = loop if at == loop + LOOP else at + 3
            assert pc == at
        assert done.stdout.endswith("\ndetached\n")
        target.is_free(only=1)


def test_an_error_is_told_with_its_hint(steps: Command, daemon: dict[str, str]) -> None:
    pid = ended()
    done = run([*steps, str(pid)], daemon)
    assert done.returncode == 1
    assert f"process {pid} does not exist" in done.stderr
    assert "utracectl ps lists those you may trace" in done.stderr
    assert done.stdout == f"utraced {VERSION}\n"


@contextmanager
def blocked(steps: Command, daemon: Mapping[str, str], pid: int) -> Iterator[Popen[bytes]]:
    """Give a client in its first step, which lasts as long as the system call that the process waits in."""
    options: dict[str, Any] = {"env": {**os.environ, **daemon}, "stderr": PIPE, "start_new_session": True}
    with running([*steps, str(pid)], ready=False, **options) as client:
        # It is traced before it is held; from then on it is stopped until the step.
        until(lambda: tracer(pid) and state(pid) == "S", "a step that lasts")
        yield client


def test_the_end_of_the_process_is_told(steps: Command, daemon: dict[str, str]) -> None:
    with child() as pid, blocked(steps, daemon, pid) as client:
        os.kill(pid, signal.SIGKILL)
        _, said = client.communicate(timeout=PATIENCE)
        assert client.returncode == 1
        # Killed between being traced and being held, it is never attached.
        assert b"the process has ended" in said or f"process {pid}".encode() in said


def test_a_client_that_is_killed_leaves_the_process_running(steps: Command, daemon: dict[str, str]) -> None:
    with child() as pid, blocked(steps, daemon, pid) as client:
        os.killpg(client.pid, signal.SIGKILL)
        client.communicate(timeout=PATIENCE)
        until(lambda: tracer(pid) == 0 and free(pid), "let go")


TRICKY = 'a "quoted\\" }{][,: "pc":"0xbad" text\\'
GREETING: Script = [
    [result(server=TRICKY, version="9", features={TRICKY: {"available": False, "reason": TRICKY}})],
    [result(threads=[{"tid": 5, "state": "held"}], pid=5, engine=7)],
]
REGISTERS = result(fp={}, general={"r15": "0x1", "rip": "0x10", "rsp": "0xffffffffffffffff", "rax": "0x0"})


def test_events_come_alone_or_several_at_once_before_the_reply_and_behind(steps: Command, tmp_path: Path) -> None:
    other = event("exec", path=TRICKY, former_tid=5)
    script: Script = [
        *GREETING,
        [other, REGISTERS],
        [[other, event("step", pc="0x11", tid=5), other], result(running=True)],
        [result(running=True), other, event("step", tid=5, held=True, pc="0x12")],
        [other, result(running=True), [event("step", seq=1, pc="0x13")]],
        [[event("detached", reason="client_request")], result()],
    ]
    with scripted(tmp_path / "socket", script) as requests:
        done = run([*steps, "5"], {"UTRACED_SOCKET": str(tmp_path / "socket")})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "utraced 9",
        "engine 7 holds process 5",
        "pc 0x10",
        "sp 0xffffffffffffffff",
        "step 0x11",
        "step 0x12",
        "step 0x13",
        "detached",
    ]
    step = {"engine": 7, "tid": 5, "action": "step"}
    assert [(request["method"], request["params"]) for request in requests[1:]] == [
        ("engine.attach", {"pid": 5, "hold": True, "events": []}),
        ("registers.read", {"engine": 7, "tid": 5}),
        *[("thread.resume", step)] * 3,
        ("engine.detach", {"engine": 7}),
    ]


def test_any_text_of_an_error_is_shown_so_that_no_terminal_obeys(steps: Command, tmp_path: Path) -> None:
    error = {"code": -32001, "message": "Zoë \x1b[2J" + TRICKY, "data": {"kind": "x", "list": [{}], "hint": "no\x07w"}}
    script: Script = [*GREETING, [{"jsonrpc": "2.0", "error": error}]]
    with scripted(tmp_path / "socket", script):
        done = run([*steps, "5"], {"UTRACED_SOCKET": str(tmp_path / "socket")})
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Zo" in done.stderr
    assert "quoted" in done.stderr
    assert done.stderr.count("\nhint: ") == 1
    assert not [letter for letter in done.stderr if letter != "\n" and not letter.isprintable()]


def test_a_daemon_that_hangs_up_is_told(steps: Command, tmp_path: Path) -> None:
    with scripted(tmp_path / "socket", [*GREETING, []]):
        done = run([*steps, "5"], {"UTRACED_SOCKET": str(tmp_path / "socket")})
    assert done.returncode == 1
    assert "closed the connection" in done.stderr


def test_without_a_daemon_it_says_where_it_looked(steps: Command, tmp_path: Path) -> None:
    path = str(tmp_path / "nobody")
    done = run([*steps, str(os.getpid())], {"UTRACED_SOCKET": path})
    assert done.returncode == 1
    assert path in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("words", [(), ("init",)])
def test_a_wrong_command_line_is_refused(steps: Command, words: tuple[str, ...]) -> None:
    done = run([*steps, *words])
    assert done.returncode == 2
    assert "usage: steps" in done.stderr


def test_the_maps_of_the_binary_file_are_those_of_the_kernel(daemon: dict[str, str], tmp_path: Path) -> None:
    maps = c(tmp_path, "maps")
    deleted = tmp_path / "a name of words"

    def map_deleted() -> None:
        import mmap

        with deleted.open("wb+") as file:
            file.truncate(mmap.PAGESIZE)
            kept.append(mmap.mmap(file.fileno(), mmap.PAGESIZE))
        deleted.unlink()

    kept: list[object] = []
    with child(map_deleted) as pid:
        done = run([*maps, str(pid)], daemon)
        expected = [line.split(None, 5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(None, 5) for line in done.stdout.splitlines()] == expected
    assert f"{deleted} (deleted)" in done.stdout


def test_the_maps_of_no_process_are_an_error(daemon: dict[str, str], tmp_path: Path) -> None:
    done = run([*c(tmp_path, "maps"), str(ended())], daemon)
    assert done.returncode == 1
    assert done.stderr.startswith("error: process ")
    assert "\nhint: " in done.stderr


NUMBERS = ABIS["x86_64"].numbers
SHOWN = re.compile(r"(\d+) (\d+)\((.*)\) = (-?\d+|\?)")


def test_calls_are_printed_with_arguments_strings_and_results(daemon: dict[str, str], tmp_path: Path) -> None:
    needs_bpf()
    (tmp_path / "a file").write_text("its contents")
    script = "read go; cat 'a file'; cat nowhere; exit 3"
    started = Popen(["/bin/sh", "-c", script], cwd=tmp_path, stdin=PIPE, stdout=PIPE, stderr=subprocess.DEVNULL)
    assert started.stdin is not None
    client = Popen([*c(tmp_path, "calls"), str(started.pid)], env={**os.environ, **daemon}, stdout=PIPE, stderr=PIPE)
    try:
        assert client.stderr is not None
        assert client.stderr.readline() == b"process %d is traced\n" % started.pid
        started.stdin.write(b"go\n")
        assert started.communicate(timeout=PATIENCE)[0] == b"its contents"
        printed, said = client.communicate(timeout=PATIENCE)
    finally:
        for process in (client, started):
            process.kill()
            process.communicate()
    assert client.returncode == 0
    assert re.fullmatch(rb"\d+ records, 0 lost\n", said)
    found = [match.groups() for match in map(SHOWN.fullmatch, printed.decode().splitlines()) if match]
    assert len(found) == len(printed.splitlines())
    calls = [(int(nr), args, result) for _, nr, args, result in found]
    opened = [(args.split(", ")[1].split(" ", 1)[1], result) for nr, args, result in calls if nr == NUMBERS["openat"]]
    assert [int(result) >= 0 for name, result in opened if name == '"a file"'] == [True]
    assert [result for name, result in opened if name == '"nowhere"'] == ["-2"]
    assert [result for nr, args, result in calls if nr == NUMBERS["write"] and '"its contents"' in args] == ["12"]
    assert [args.split(",")[0] for nr, args, result in calls if result == "?"][-1] == "0x3"
    assert len({pid for pid, *_ in found}) == 3


def test_records_of_every_shape_are_taken_apart(tmp_path: Path) -> None:
    """A scripted daemon sends what is rare: a thread that takes over its process, records that are not known."""

    def entry(nr: int, *args: int, of: int = 10, memory: bytes = b"") -> bytes:
        own = records.ENTERED.pack(*args, *[0] * (6 - len(args)), 0, 0)
        return with_tid(record(records.ENTRY, own, memory, nr=nr), of)

    def left(result: int, *, of: int = 10, memory: bytes = b"") -> bytes:
        return with_tid(record(records.EXIT, records.RETURNED.pack(result), memory), of)

    evil = fragment(0x1000, b'\x1b[2J"\\a')
    data = [
        left(7),  # of a call that it was in before
        entry(0, 3, 0x1000, 9) + left(9, memory=fragment(0x1000, b"was read!")),
        record(99, b"12345678") + entry(1, 0x1000, memory=fragment(0x999, b"no") + evil) + left(-5),
        entry(59, 1, of=12) + record(records.EXEC, records.EXECED.pack(12)),
        with_tid(record(records.CLONE, bytes(16)), 11) + left(0, of=11),
        entry(34, of=13) + with_tid(record(records.DEATH, records.DIED.pack(0, 1)), 13),
    ]
    told = [event("records", trace=1, data=base64.b64encode(one).decode(), count=1, format="calls-1") for one in data]
    last = event("detached", trace=1, reason="target_exited", delivered=9, lost=4)
    script: Script = [[result(trace=1, backend="kernel"), told[0], told[1:3], *told[3:], last]]
    with scripted(tmp_path / "socket", script) as requests:
        done = run([*c(tmp_path, "calls"), "5"], {"UTRACED_SOCKET": str(tmp_path / "socket")})
    zeros = ", 0x0" * 5
    assert (done.returncode, done.stderr) == (0, "process 5 is traced\n9 records, 4 lost\n")
    assert done.stdout.splitlines() == [
        '10 0(0x3, 0x1000 "was read!", 0x9, 0x0, 0x0, 0x0) = 9',
        f'10 1(0x1000 "\\x1b[2J\\x22\\x5ca"{zeros}) = -5',
        f"10 59(0x1{zeros}) = 0",
        f"10 34(0x0{zeros}) = ?",
    ]
    assert requests[0]["params"] == {
        "pid": 5,
        "follow": True,
        "backend": "kernel",
        "deliver": "raw",
        "overflow": "block",
    }


def with_tid(data: bytes, tid: int) -> bytes:
    """Return a record as of another thread."""
    return data[:20] + tid.to_bytes(4, "little") + data[24:]


def test_the_calls_of_no_process_are_an_error(daemon: dict[str, str], tmp_path: Path) -> None:
    done = run([*c(tmp_path, "calls"), str(ended())], daemon)
    assert done.returncode == 1
    assert done.stderr.startswith("error: process ")
    assert "\nhint: " in done.stderr
