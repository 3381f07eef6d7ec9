"""The system calls that the daemon makes are among those that its units allow."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import msgspec
import pytest

from tests.broker.system import folder, system
from tests.children import NOBODY, as_user, child, needs_root
from tests.live.machine import PATIENCE, children, until
from tests.systemd.units import SYSTEM, analyze, needs_analyze, settings
from tests.worker.daemon import LAUNCH, Peer
from utraced.api import process
from utraced.api.methods import is_method
from utraced.linux.attaching import VMLINUX
from utraced.linux.prctl import set_dumpable

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


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


@contextmanager
def recorded(log: Path, *command: str | Path, **options: Any) -> Iterator[Popen[bytes]]:
    """Give strace, that writes the system calls of ``command`` to ``log``; at the end that is told to end."""
    strace = Popen(["strace", "-f", "-qq", "-o", log, *command], start_new_session=True, **options)
    try:
        yield strace
        for daemon in children(strace.pid):
            os.kill(daemon, signal.SIGTERM)
        strace.wait(PATIENCE)
    finally:
        # Killed, strace would leave it running.
        for daemon in children(strace.pid):
            os.kill(daemon, signal.SIGKILL)
        strace.kill()
        strace.wait(PATIENCE)


def use(place: Path) -> None:
    """Have a worker do what clients ask for."""
    with child(lambda: set_dumpable(1)) as pid, Peer(place) as peer:
        for method in ("rpc.discover", "session.list", "process.list", "daemon.check"):
            peer.call(method)
        for method in ("daemon.check", *looking()):
            peer.call(method, pid=pid)
        engine = peer.call("engine.attach", pid=pid, hold=True)["engine"]
        peer.call("registers.read", engine=engine, tid=pid)
        maps = peer.call("process.maps", pid=pid)["maps"]
        address = next(entry["start"] for entry in maps if entry["perms"].startswith("rw"))
        data = peer.call("memory.read", pid=pid, address=address, size=16)["data"]
        peer.call("memory.write", engine=engine, address=address, data=data)
        peer.call("thread.signal", pid=pid, tid=pid, signal="SIGCONT")
        peer.call("engine.detach", engine=engine)
        peer.call("trace.start", pid=pid, backend="ptrace")
        if Path(VMLINUX).exists():
            peer.call("trace.stop", trace=peer.call("trace.start", pid=pid, backend="kernel")["trace"])


MOUNTING = {"fsopen", "fsconfig", "fsmount"}
"""Made with CAP_SYS_ADMIN, which the unit leaves out, and only where tracefs is mounted nowhere: systemd mounts it."""


@needs_root
@needs_analyze
@needs_strace
def test_a_broker_and_its_workers_do_with_what_the_unit_allows(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with folder() as made:
        place = made / "utraced.sock"
        command = (sys.executable, "-m", "utraced", "--system", "--socket", place)
        with recorded(log, *command, stderr=DEVNULL):
            until(place.exists, "the socket")
            use(place)
            as_user(lambda: use(place))
    lines = log.read_text()
    made_calls = calls(lines)
    assert {"ptrace", "setresuid", "epoll_wait", "accept4", "bpf"} <= made_calls
    assert made_calls - MOUNTING - allowed("utraced.service") == set()
    families = set(re.findall(r"\bsocket(?:pair)?\((\w+)", lines))
    assert families == set(settings(SYSTEM / "utraced.service")["RestrictAddressFamilies"]) == {"AF_UNIX"}
    # MemoryDenyWriteExecute=, as systemd.exec(5) has it.
    assert settings(SYSTEM / "utraced.service")["MemoryDenyWriteExecute"] == ["yes"]
    assert re.findall(r"mmap\(.*PROT_WRITE\|PROT_EXEC.*|(?:mprotect|shmat)\(.*_EXEC.*", lines) == []


@needs_root
@needs_analyze
@needs_strace
def test_what_hands_on_does_with_what_the_unit_allows(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with system() as broker, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as front:
        place = broker.folder / "as" / "nobody.sock"
        place.parent.mkdir()
        front.bind(str(place))
        front.listen()
        fd = fcntl.fcntl(front, fcntl.F_DUPFD, 10)
        words = (sys.executable, "-c", LAUNCH, str(fd), "front", "--as", pwd.getpwuid(NOBODY).pw_name)
        with recorded(log, *words, stderr=DEVNULL, pass_fds=[fd]), Peer(place) as peer:
            assert peer.call("daemon.hello")["access"] == "full"
        os.close(fd)
    made_calls = calls(log.read_text())
    assert {"accept4", "connect", "sendmsg"} <= made_calls
    assert made_calls - allowed("utraced-as@.service") == set()


def calls(lines: str) -> set[str]:
    """Return the names of the system calls in what strace wrote."""
    return set(re.findall(r"^\d+ +(\w+)\(", lines, re.MULTILINE))
