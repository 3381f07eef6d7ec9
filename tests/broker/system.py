"""A system's daemon of our own, and what other users see of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, TypeVar

from tests.children import as_user
from tests.live.machine import PATIENCE, children, status, until, wait_end
from tests.worker.daemon import Daemon, Peer

Returned = TypeVar("Returned")
TEMPLATE = "utraced-templat"
WORKERS = ("utraced-worker", "utraced-refuser")


class System:
    """A running broker with its socket, and the processes that it has."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.folder = folder
        self.pid = daemon.pid

    @property
    def address(self) -> str:
        """The socket that is for everybody."""
        return self.daemon.address

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a call on a connection of its own."""
        with Peer(self.address) as peer:
            return peer.call(method, **params)

    def call_as(self, uid: int, method: str, gid: int | None = None, **params: Any) -> Any:
        """Return the result of a call of another user's, on a connection of its own."""
        return as_user(lambda: self.call(method, **params), uid, gid)

    def refusal(self, prepare: Callable[[], object] = lambda: None) -> Any:
        """Return the error that answers a first request, after ``prepare``."""
        prepare()
        with Peer(self.address) as peer:
            peer.send("daemon.hello")
            answer = peer.next()
            assert peer.next() is None
        return answer["error"]

    def template(self) -> int:
        """Return the pid of the template, when there is one."""
        found = [pid for pid in children(self.pid) if status(pid).get("Name") == TEMPLATE]
        return found[0] if found else 0

    def workers(self, name: str = "utraced-worker") -> list[int]:
        """Return the workers that the present template has forked."""
        return [pid for pid in children(self.template()) if status(pid).get("Name") == name]


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that every user can reach."""
    made = Path(tempfile.mkdtemp(prefix="utraced-", dir="/tmp"))
    try:
        made.chmod(0o755)
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def system(*words: str, at: Path | None = None, **options: Any) -> Iterator[System]:
    """Give a broker that listens in a folder of its own, or ``at`` another's."""
    with folder() if at is None else nullcontext(at) as made:
        path = made / "utraced.sock"
        command = [sys.executable, "-m", "utraced", "--system", "--socket", str(path), *words]
        with running(command, str(path), made, **options) as found:
            yield found


@contextmanager
def running(command: Sequence[str], address: str, made: Path, **options: Any) -> Iterator[System]:
    """Give a broker that is started by ``command``."""
    process: Popen[bytes] = Popen(command, stderr=PIPE, **options)
    daemon = Daemon(process, address)
    found = System(daemon, made)
    try:
        assert f"pid {process.pid} listens at" in daemon.says(), daemon.said + str(daemon.end())
        until(found.template, "a template")
        yield found
    finally:
        ours = [process.pid, found.template(), *found.workers(), *found.workers("utraced-refuser")]
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            for pid in filter(None, ours):
                _end(pid)
            process.wait(PATIENCE)
            assert process.stderr is not None
            process.stderr.close()


def _end(pid: int) -> None:
    """Wait for the end of one of the daemon's processes, which the broker's end brings, or end it."""
    if status(pid).get("Name", "").startswith("utraced-"):
        try:
            wait_end(pid)
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            raise


def connected(address: str) -> socket.socket:
    """Return a connected socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(PATIENCE)
    sock.connect(address)
    return sock
