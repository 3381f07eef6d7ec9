"""Real processes on the real kernel: compiled programs, a client with a worker of its own, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import libc
from tests.live.machine import command_line, descendants, free, state, until, wait_end
from utracectl.client import Client, client_of
from utracectl.connect import start_worker
from utraced.errors import UtracedError
from utraced.rpc.method import Method
from utraced.rpc.openrpc import errors_of

PROGRAMS = Path(__file__).parent.parent / "programs"
FLAGS = ("-O1", "-g0", "-w", "-pthread", "-fno-pie", "-no-pie", "-std=gnu11")
ALONE = ("-O1", "-w", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie")
"""For programs without a C library."""
PR_SET_CHILD_SUBREAPER = 36


class Programs:
    """The programs of tests/programs, each compiled when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Path:
        """Return the compiled program; skips the test where there is no compiler (or none for i386)."""
        compiled = self._folder / name
        if compiled.exists():
            return compiled
        compiler = shutil.which("gcc")
        if compiler is None:
            pytest.skip("gcc is missing: install it to run the tests with compiled programs")
        flags = ("-m32", *ALONE) if name.startswith("i386") else FLAGS
        source = PROGRAMS / f"{name}.c"
        done = subprocess.run(
            [compiler, *flags, "-o", compiled, source], capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode and name.startswith("i386"):
            pytest.skip("gcc makes no i386 programs here")
        assert not done.returncode, done.stderr
        return compiled


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile programs once a session."""
    return Programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture
def client() -> Iterator[Client]:
    """Give a client whose worker ends with the test."""
    link = start_worker()
    assert link.worker is not None
    with client_of(link) as client:
        yield client
    wait_end(link.worker)
    os.waitpid(link.worker, 0)


@pytest.fixture(autouse=True)
def _only_declared_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test where a method answers an error that its class does not declare."""
    ask = Client.call_with_descriptors

    def checked(client: Client, method: Method[Any], *arguments: Any, **options: Any) -> Any:
        try:
            return ask(client, method, *arguments, **options)
        except UtracedError as error:
            # Where a time-out was asked for, it is the client's own.
            if type(error) not in errors_of(type(method)) and options.get("timeout") is None:
                pytest.fail(f"{method.method} does not declare {error!r}")
            raise

    monkeypatch.setattr(Client, "call_with_descriptors", checked)


@pytest.fixture(scope="package", autouse=True)
def _adopting() -> Iterator[None]:
    """Have orphans become children of ours, so that none is overlooked."""
    libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc().prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def _nothing_left(_adopting: None) -> Iterator[None]:
    """After a test none of our processes is left, and while its workers end none stays stopped or traced."""
    before = set(descendants(os.getpid()))
    yield
    left = [pid for pid in descendants(os.getpid()) if pid not in before]
    workers = [pid for pid in left if "-m utraced --connected" in command_line(pid)]
    for pid in workers:
        wait_end(pid)
    try:
        until(
            lambda: all(free(pid) for pid in left),
            "all processes free: " + ", ".join(f"{pid} {state(pid)} {command_line(pid)}" for pid in left),
        )
        # One without a command line has given up its memory: it is on its way out (do_exit), whatever its state says.
        others = [(pid, line) for pid in left if state(pid) not in {"Z", "X", ""} and (line := command_line(pid))]
    finally:
        for pid in left:
            _end(pid)
    assert not others, "the test left processes behind"


def _end(pid: int) -> None:
    """Kill and reap one process that the test left."""
    try:
        os.kill(pid, signal.SIGKILL)
        wait_end(pid)
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return
