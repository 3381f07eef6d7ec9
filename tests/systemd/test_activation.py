"""Real activation: systemd's own program listens, and the first connection starts the daemon."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.broker.system import folder
from tests.children import NOBODY, as_user, child, needs_root, own_program
from tests.live.machine import PATIENCE, until
from tests.systemd.units import SYSTEM, needs_activate, settings
from tests.worker.daemon import Daemon, Peer
from utraced.linux.attaching import VMLINUX

UTRACED = (sys.executable, "-m", "utraced")


def _listens(place: Path) -> bool:
    """Tell whether somebody listens at a socket, without a connection: its flags have __SO_ACCEPTCON (net/unix)."""
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    return any(words[-1] == str(place) and words[3] == "00010000" for words in lines)


@contextmanager
def socket_activated(place: Path, *words: str, name: str = "", by: Sequence[str] = ()) -> Iterator[Daemon]:
    """Give a daemon that will start, through the program ``by``, with the first connection to ``place``."""
    command = ["systemd-socket-activate", "--seqpacket", f"--listen={place}", *([f"--fdname={name}"] if name else [])]
    process = subprocess.Popen(
        [*command, *by, *UTRACED, *words],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "err"},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        # Between bind and listen it is there, and refuses.
        until(lambda: _listens(place), "the socket")
        yield Daemon(process, str(place))
    finally:
        process.terminate()
        process.wait(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


@needs_activate
def test_the_first_connection_starts_the_daemon(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    with socket_activated(place) as daemon:
        with daemon.connect() as peer, daemon.connect() as other:
            # It stays the same process, so its pid is that of systemd's program.
            assert peer.call("daemon.hello")["tracer_pid"] == daemon.pid
            assert other.call("daemon.hello")["session"] == 2
            assert f"pid {daemon.pid} listens at" in daemon.says()
        assert daemon.stop() == 0
    # The file is the service manager's.
    assert place.exists()


@needs_root
@needs_activate
def test_the_system_s_daemon_and_the_one_that_hands_on() -> None:
    with folder() as made:
        place, looking = made / "utraced.sock", made / "observe" / "nobody.sock"
        looking.parent.mkdir()
        user = pwd.getpwuid(NOBODY).pw_name
        with socket_activated(place, "--system") as broker:
            place.chmod(0o666)  # SocketMode=
            assert as_user(lambda: Peer(place).call("daemon.hello"))["target_user"] == user
            with socket_activated(looking, "--as", user, name="observe") as handing:
                with Peer(looking) as peer, child(lambda: own_program(NOBODY)) as pid:
                    told = peer.call("daemon.hello")
                    assert (told["target_user"], told["access"]) == (user, "observe")
                    assert peer.call("process.maps", pid=pid)["maps"]
                    peer.send("engine.attach", pid=pid)
                    assert peer.next()["error"]["data"]["reason"] == "read_only_session"
                assert "hands on" in handing.says()
            assert broker.stop() == 0


def bounded() -> list[str]:
    """Return what gives a program of root's the capabilities of the unit, and no more."""
    names = [name for line in settings(SYSTEM / "utraced.service")["CapabilityBoundingSet"] for name in line.split()]
    known = subprocess.run(["setpriv", "--list-caps"], capture_output=True, text=True, check=True).stdout.split()
    given = [name for name in (name.removeprefix("CAP_").lower() for name in names) if name in known]
    return ["setpriv", "--no-new-privs", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in given)])]


@needs_root
@needs_activate
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_with_the_capabilities_of_the_unit_all_is_done_that_is_to_be() -> None:
    with folder() as made:
        place = made / "utraced.sock"
        with socket_activated(place, "--system", by=bounded()) as broker:
            place.chmod(0o666)  # SocketMode=
            try:
                use(place)
                assert as_user(lambda: Peer(place).call("daemon.hello"), 54_321)["target_user"] == "54321"
                if Path(VMLINUX).exists():
                    with child(own_program) as pid:
                        started = as_user(lambda: Peer(place).call("trace.start", pid=pid, backend="kernel"))
                        assert started["backend"] == "kernel"
            except (AssertionError, ConnectionResetError):
                broker.stop()
                if os.strerror(errno.ETOOMANYREFS) in broker.said:
                    pytest.skip("root has many descriptors on their way, and this machine gives no CAP_SYS_RESOURCE")
                raise
            assert broker.stop() == 0


def use(place: Path) -> None:
    """Do as root, to another user's process, what needs capabilities."""
    with Peer(place) as peer, child(lambda: own_program(NOBODY)) as pid:
        assert peer.call("daemon.hello")["target_user"] == "root"
        engine = peer.call("engine.attach", pid=pid, hold=True)["engine"]
        maps = peer.call("process.maps", pid=pid)["maps"]
        address = next(entry["start"] for entry in maps if entry["perms"].startswith("rw"))
        data = peer.call("memory.read", pid=pid, address=address, size=16)["data"]
        peer.call("memory.write", engine=engine, address=address, data=data)
        peer.call("thread.signal", pid=pid, tid=pid, signal="SIGCONT")
        peer.call("engine.detach", engine=engine)
