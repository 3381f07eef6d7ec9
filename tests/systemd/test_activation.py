"""Real activation: systemd's own program listens, and the first connection starts the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.machine import PATIENCE, until
from tests.systemd.units import needs_activate
from tests.worker.daemon import Daemon


@contextmanager
def socket_activated(place: Path, *words: str) -> Iterator[Daemon]:
    """Give a program that listens at ``place`` and becomes the daemon with the first connection."""
    command = ["systemd-socket-activate", "--seqpacket", f"--listen={place}", *words]
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "err"}
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "utraced"], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        until(place.exists, "the socket")
        yield Daemon(process, str(place))
    finally:
        process.kill()
        process.wait(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


@needs_activate
def test_the_first_connection_starts_the_daemon(tmp_path: Path) -> None:
    with socket_activated(tmp_path / "socket", "--fdname=front") as daemon:
        with daemon.connect() as peer, daemon.connect() as other:
            # It stays the same process, so its pid is that of systemd's program.
            assert peer.call("daemon.hello")["tracer_pid"] == daemon.pid
            assert other.call("daemon.hello")["session"] == 2
            assert f"pid {daemon.pid} listens at" in daemon.says()
        assert daemon.stop(signal.SIGTERM) == 0
    # The file is the service manager's.
    assert (tmp_path / "socket").exists()
