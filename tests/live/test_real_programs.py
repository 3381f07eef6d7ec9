"""Programs that people use, under two sessions that follow and are told everything: they behave as without.

One session's engine reports all events, system calls and signals among them; the other's is a trace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import NamedTuple, get_args

import pytest
from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder

from tests.live.machine import UTRACECTL, until
from tests.worker.daemon import Daemon, listening
from utracectl.client import Client, client_of
from utracectl.connect import connect_socket
from utraced.api.engine import Attach, EventName
from utraced.api.trace import Start

SOURCES = Path(__file__).parent.parent / "programs" / "real"
PATIENCE = 60.0
EVERYTHING = get_args(EventName)
GATE = ("sh", "-c", 'read go; exec "$@"', "sh")
"""Waits for a line before it becomes the program, so that tracers can attach first."""
QUIET = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
}


def needs(*programs: str) -> None:
    """Skip the test where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: install it to run this test")


class _Head(Struct):
    kind: str
    engine: int | None = None
    child_engine: int | None = None


class Reader(threading.Thread):
    """Reads the events of a client until its engines, or its trace, have ended; counts them by kind."""

    def __init__(self, client: Client, engine: int | None) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()
        self._client = client
        self._engines = {engine}
        self._ended: set[int | None] = set()
        self._decode = Decoder(_Head).decode

    def run(self) -> None:
        while self._engines - self._ended:
            events = self._client.raw_events(PATIENCE)
            if not events:
                return
            for event in events:
                try:
                    head = self._decode(event)
                except DecodeError:
                    continue
                self.kinds[head.kind] += 1
                if head.child_engine is not None:
                    self._engines.add(head.child_engine)
                if head.kind == "detached":
                    self._ended.add(head.engine)

    def finished(self) -> Counter[str]:
        """Wait for the end, and return how many events of each kind there were."""
        self.join(PATIENCE)
        assert not self.is_alive()
        assert not self._engines - self._ended, f"nothing more came after {self.kinds}"
        return self.kinds


class Outcome(NamedTuple):
    """What a program did: its exit status, what it said on stdout and stderr, and the files it left."""

    status: int
    out: bytes
    err: bytes
    files: dict[str, bytes]


class Observed(NamedTuple):
    """A program's outcome, and what the engine and the trace were told."""

    outcome: Outcome
    engine: Counter[str]
    trace: Counter[str]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with listening(tmp_path / "daemon.sock") as daemon:
        yield daemon


@contextmanager
def gated(command: Sequence[str | Path], folder: Path, **environment: str) -> Iterator[Popen[bytes]]:
    """Give a program behind its gate."""
    process = Popen(
        [*GATE, *map(str, command)],
        stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=folder, env={**os.environ, **QUIET, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def observed(daemon: Daemon, pid: int) -> Iterator[tuple[Reader, Reader]]:
    """Have a process traced by two sessions, which follow, and read what they are told."""
    environment = {"UTRACED_SOCKET": daemon.address}
    with client_of(connect_socket(environment)) as first, client_of(connect_socket(environment)) as second:
        engine = first.call(Attach(pid=pid, events=EVERYTHING, follow=True)).engine
        second.call(Start(pid=pid, follow=True, backend="ptrace", overflow="block"))
        readers = Reader(first, engine), Reader(second, None)
        for reader in readers:
            reader.start()
        yield readers


def outcome(process: Popen[bytes], folder: Path) -> Outcome:
    """Let a program through its gate, and return what it did."""
    out, err = process.communicate(b"go\n", timeout=PATIENCE)
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return Outcome(process.returncode, out, err, files)


def both(
    daemon: Daemon, folder: Path, command: Sequence[str | Path], prepare: Callable[[Path], object] = lambda _: None
) -> tuple[Outcome, Observed]:
    """Return what a program does untraced, and what under two sessions, each in the same folder, made anew."""
    place = folder / "place"

    def prepared() -> Path:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        prepare(place)
        return place

    with gated(command, prepared()) as process:
        untraced = outcome(process, place)
    with gated(command, prepared()) as process, observed(daemon, process.pid) as (engine, trace):
        traced = outcome(process, place)
        found = Observed(traced, engine.finished(), trace.finished())
    assert found.engine["syscall_entry"] >= found.engine["syscall_exit"] > 0
    assert found.trace["syscall"] > 0
    assert found.trace["lost"] == 0
    return untraced, found


def test_git_clones_a_repository(daemon: Daemon, tmp_path: Path) -> None:
    needs("git")
    source = tmp_path / "source"
    source.mkdir()

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=source, env={**os.environ, **QUIET}, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for commit in range(3):
        for number in range(60):
            (source / f"file{number}").write_text(f"{commit} {number}\n" * (number + 1))
        git("add", "-A")
        git("commit", "-q", "-m", f"change {commit}")
    command = ["git", "clone", "--no-local", "--progress", source, "clone"]
    untraced, found = both(daemon, tmp_path, command)
    assert (untraced.status, found.outcome.status) == (0, 0)
    assert b"Receiving objects: 100%" in found.outcome.err

    def tree(files: dict[str, bytes]) -> dict[str, bytes]:
        return {name: data for name, data in files.items() if "/.git/" not in name}

    assert len(tree(untraced.files)) == 60
    assert tree(found.outcome.files) == tree(untraced.files)
    clone = tmp_path / "place" / "clone"
    for words in (("fsck", "--strict"), ("status", "--porcelain"), ("log", "--format=%H %s")):
        done = subprocess.run(
            ["git", "-C", clone, *words], env={**os.environ, **QUIET}, check=True, capture_output=True
        )
        if words[0] == "log":
            assert len(done.stdout.splitlines()) == 3
        else:
            assert done.stdout == b""
    assert found.engine["exec"] >= 3


def test_make_builds_a_program_four_at_a_time(daemon: Daemon, tmp_path: Path) -> None:
    needs("make", "gcc")

    def prepare(folder: Path) -> None:
        names = [f"part{number}" for number in range(6)]
        for number, name in enumerate(names):
            (folder / f"{name}.c").write_text(f"int {name}(int n) {{ return n * {number} + {number}; }}\n")
        calls = " + ".join(f"{name}(2)" for name in names)
        declared = "".join(f"int {name}(int);\n" for name in names)
        main = f'int main(void) {{ printf("%d\\n", {calls}); }}'
        (folder / "main.c").write_text(f"{declared}int printf(const char *, ...);\n{main}\n")
        objects = " ".join(f"{name}.o" for name in ("main", *names))
        (folder / "Makefile").write_text(
            f"all: run\nprogram: {objects}\n\t@$(CC) -o $@ $^\n%.o: %.c\n\t@$(CC) -c -o $@ $<\n"
            "run: program\n\t./program > said; cat said; test -s said\n"
        )

    untraced, found = both(daemon, tmp_path, ["make", "-j4"], prepare)
    assert (untraced.status, untraced.out.splitlines()[-1]) == (0, b"45")
    assert found.outcome == untraced
    assert "program" in untraced.files
    assert found.engine["vfork_done"] + found.engine["clone"] > 8


def test_a_python_test_suite(daemon: Daemon, tmp_path: Path) -> None:
    needs("seq", "sort")
    untraced, found = both(daemon, tmp_path, [sys.executable, SOURCES / "suite.py"])
    assert untraced.out.count(b" ok\n") == 12, untraced.out
    assert found.outcome == untraced


def test_a_go_program(daemon: Daemon, tmp_path: Path) -> None:
    needs("go")
    program = tmp_path / "program"
    built = subprocess.run(
        ["go", "build", "-o", program, SOURCES / "main.go"],
        env={"HOME": str(tmp_path), **os.environ}, check=False, capture_output=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    untraced, found = both(daemon, tmp_path, [program])
    assert untraced.status == 3
    assert found.outcome == untraced
    assert found.engine["signal"] > 60


def test_a_java_program(daemon: Daemon, tmp_path: Path) -> None:
    needs("java", "javac")
    subprocess.run(["javac", "-d", tmp_path, SOURCES / "Main.java"], check=True, capture_output=True)
    command = ["java", "-Xmx200m", "-Xshare:auto", "-XX:-UsePerfData", "-cp", tmp_path, "Main"]
    untraced, found = both(daemon, tmp_path, command)
    assert untraced.status == 5
    assert b"too deep" in untraced.out
    assert found.outcome == untraced
    assert found.engine["signal"] > 1000


def test_redis_serves_and_saves(daemon: Daemon, tmp_path: Path) -> None:
    needs("redis-server", "redis-benchmark", "redis-cli")
    seen = []
    for traced in (False, True):
        folder = tmp_path / f"traced{traced}"
        folder.mkdir()
        socket = str(folder / "s")
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--enable-debug-command", "yes"]
        with gated(command, folder) as process:
            if traced:
                with observed(daemon, process.pid) as (engine, trace):
                    seen.append(serve(process, socket, folder))
                    told = engine.finished()
                    assert told["clone"] > 3
                    assert trace.finished()["syscall"] > 1000
            else:
                seen.append(serve(process, socket, folder))
    untraced, traced_outcome = seen
    assert untraced["status"] == 0
    assert traced_outcome == untraced


def serve(process: Popen[bytes], socket: str, folder: Path) -> dict[str, object]:
    """Have a redis-server work; return what it answers, and the status with which it ends."""
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    until(lambda: ask(socket, "ping") == b"PONG\n", "redis answers")
    work = [
        "redis-benchmark",
        "-s",
        socket,
        "-q",
        "-n",
        "600",
        "-c",
        "8",
        "-P",
        "4",
        "-t",
        "set,get,incr,lpush,zadd,mset",
    ]
    worked = subprocess.run(work, capture_output=True, check=True, timeout=PATIENCE)
    assert worked.stdout.count(b"requests per second") >= 6
    found: dict[str, object] = {
        "keys": sorted(ask(socket, "keys", "*").splitlines()),
        "digest": ask(socket, "debug", "digest"),
        "saving": ask(socket, "bgsave"),
    }
    until(lambda: b"rdb_bgsave_in_progress:0" in ask(socket, "info", "persistence"), "redis has saved")
    found["saved"] = b"rdb_last_bgsave_status:ok" in ask(socket, "info", "persistence")
    found["file"] = (folder / "dump.rdb").read_bytes()[:5]
    ask(socket, "shutdown", "nosave")
    process.communicate(timeout=PATIENCE)
    found["status"] = process.returncode
    return found


def ask(socket: str, *words: str) -> bytes:
    """Return what redis answers."""
    return subprocess.run(
        ["redis-cli", "-s", socket, *words], capture_output=True, check=False, timeout=PATIENCE
    ).stdout


def test_the_command_itself_under_two_sessions(daemon: Daemon, tmp_path: Path) -> None:
    """utracectl is a program like others, and its worker's targets are not ours."""
    untraced, found = both(daemon, tmp_path, [*UTRACECTL, "ps", "--help"])
    assert found.outcome == untraced
    assert untraced.status == 0
