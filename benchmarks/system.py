"""The system's broker, started as its unit does, and started anew when it ends as systemd does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import utraced
from benchmarks.daemon import greeted

RESTART = 0.1
"""RestartSec= of systemd, where a unit does not say it."""
PATIENCE = 20.0
_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="utraced.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


class System:
    """A broker with these ``words`` more; ``path`` is its socket's, which stays open, ``pid`` its process just now."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._words = words
        self.path = folder / "utraced.sock"
        self.pid = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(self.path))
        self.path.chmod(0o666)
        self._socket.listen(4096)
        self._log = (folder / "log").open("wb")
        self._stopping = False
        self._start()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def processes(self) -> Mapping[str, int]:
        """Return the pids of broker and template."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for pid in map(int, children.read_text().split()):
                    if Path(f"/proc/{pid}/comm").read_text().startswith("utraced-templ"):
                        return {"broker": self.pid, "template": pid}
            time.sleep(0.01)
        raise RuntimeError("no template is there")

    def stop(self) -> None:
        """End it."""
        self._stopping = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self._supervisor.join()
        self._socket.close()
        self._log.close()

    def _start(self) -> None:
        fd = self._socket.fileno()
        os.set_inheritable(fd, True)
        # The program that a package installs: this Python's options and the current folder are not its.
        program = [
            sys.executable,
            "-c",
            _START,
            str(fd),
            sys.executable,
            "-P",
            "-m",
            "utraced",
            "--system",
            *self._words,
        ]
        environment = {**os.environ, "PYTHONPATH": str(Path(utraced.__file__).parent.parent)}
        null = os.open(os.devnull, os.O_RDONLY)
        self.pid = os.posix_spawn(
            sys.executable,
            program,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, self._log.fileno(), 2)],
        )
        os.close(null)
        os.set_inheritable(fd, False)

    def _supervise(self) -> None:
        """Start it anew whenever it has ended."""
        while not self._stopping:
            os.waitpid(self.pid, 0)
            time.sleep(RESTART)
            if not self._stopping:
                self._start()


@contextlib.contextmanager
def system(folder: Path, *words: str) -> Iterator[System]:
    """Run a broker with these words more, whose template has loaded everything."""
    found = System(folder, *words)
    try:
        greeted(found.path).close()
        yield found
    finally:
        found.stop()
