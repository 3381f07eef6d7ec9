"""The system calls that the daemon makes are among those that its unit allows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from tests.children import child
from tests.live.machine import PATIENCE, children, until
from tests.systemd.units import SYSTEM, analyze, needs_analyze, settings
from tests.worker.daemon import Peer
from utraced.api import process
from utraced.api.methods import is_method


def looking() -> Iterator[str]:
    """Yield the methods that need to be told nothing but a process."""
    for value in vars(process).values():
        if is_method(value):
            with suppress(msgspec.ValidationError):
                msgspec.convert({"pid": 1}, value)
                yield value.method


def allowed(unit: str) -> set[str]:
    """Return the names of the system calls that a unit's filter lets through."""
    found: set[str] = set()
    for line in settings(SYSTEM / unit)["SystemCallFilter"]:
        names = {name for word in line.removeprefix("~").split() for name in expanded(word)}
        found = found - names if line.startswith("~") else found | names
    # What the filter always allows (seccomp_load_syscall_filter_set in shared/seccomp-util.c).
    return found | expanded("@default")


def expanded(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    words = [line.strip() for line in analyze("syscall-filter", word).stdout.splitlines()[1:]]
    return {name for inner in words if inner and not inner.startswith("#") for name in expanded(inner)}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The system calls of a daemon that did what clients ask for, as strace tells them."""
    place, log = tmp_path / "socket", tmp_path / "calls"
    strace = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", log, sys.executable, "-m", "utraced", "--socket", place],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(place.exists, "the socket")
        with child() as pid, Peer(place) as peer:
            for method in ("rpc.discover", "session.list", "process.list"):
                peer.call(method)
            for method in looking():
                peer.call(method, pid=pid)
            engine = peer.call("engine.attach", pid=pid, hold=True)["engine"]
            peer.call("registers.read", engine=engine, tid=pid)
            peer.call("thread.signal", pid=pid, tid=pid, signal="SIGCONT")
            peer.call("engine.detach", engine=engine)
            peer.call("trace.start", pid=pid)
        for daemon in children(strace.pid):
            os.kill(daemon, signal.SIGTERM)
        strace.wait(PATIENCE)
        yield log
    finally:
        # Killed, strace would leave it running.
        for daemon in children(strace.pid):
            os.kill(daemon, signal.SIGKILL)
        strace.kill()
        strace.wait(PATIENCE)


@needs_analyze
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_worker_does_with_what_the_unit_allows(log: Path) -> None:
    lines = log.read_text()
    made = set(re.findall(r"^\d+ +(\w+)\(", lines, re.MULTILINE))
    assert {"ptrace", "epoll_wait", "accept4"} <= made
    assert made - allowed("utraced.service") == set()
    families = set(re.findall(r"\bsocket(?:pair)?\((\w+)", lines))
    assert families == set(settings(SYSTEM / "utraced.service")["RestrictAddressFamilies"]) == {"AF_UNIX"}
    # MemoryDenyWriteExecute=, as systemd.exec(5) has it.
    assert settings(SYSTEM / "utraced.service")["MemoryDenyWriteExecute"] == ["yes"]
    assert re.findall(r"mmap\(.*PROT_WRITE\|PROT_EXEC.*|(?:mprotect|shmat)\(.*_EXEC.*", lines) == []
