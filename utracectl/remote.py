"""The daemon of another host, by ``ssh HOST utracectl stdio``."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from contextlib import suppress
from typing import NoReturn

from utracectl.connect import Link, NotConnected
from utracectl.dialogue import ConnectionEnded
from utracectl.exit_codes import FAILED, NOT_FOUND
from utracectl.hosts import is_host
from utracectl.lines import LineSocket
from utracectl.messages import say, terminal_text

PROGRAM = "ssh"
REMOTE = ("utracectl", "stdio")
PATIENCE = 1.0
"""Seconds that ssh is given to end by itself once its streams are closed."""
SSH_FAILED = 255
"""ssh(1), EXIT STATUS: an error of ssh's own."""
MOST_SAID = 16_384
"""Bytes of ssh's last words that are looked at."""


class Unreachable(ConnectionEnded):
    """There is no way to the other host's daemon, or none any more."""

    status = FAILED


class Ssh:
    """A running ssh: its pid, and what it and the program at the other end say on stderr, which is kept to be shown."""

    def __init__(self, host: str, pid: int, stderr: int) -> None:
        self.host = host
        self.pid = pid
        self._stderr = stderr
        self._status: int | None = None
        self._told = False

    def ended(self) -> ConnectionEnded:
        """Return the error that tells in one line why the connection is over."""
        self._told = True
        status = self._wait()
        said = self._said()
        last = f": {said[-1]}" if said else ""
        if status == NOT_FOUND:
            return Unreachable(f"there is no utracectl on {self.host}: install it where its ssh finds commands")
        if status == SSH_FAILED:
            return Unreachable(f"cannot reach {self.host}{last or ': ssh failed'}")
        return ConnectionEnded(f"the connection to {self.host} ended{last}")

    def finish(self) -> None:
        """Have ssh end, its streams being closed, and show what was said and is not told of yet."""
        if self._stderr < 0:
            return
        if self._wait() is None:
            # Not connected yet, it does not look at its streams.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            self._wait()
        if not self._told:
            for line in self._said():
                say(f"{self.host}: {line}")
        os.close(self._stderr)
        self._stderr = -1

    def _wait(self) -> int | None:
        """Return ssh's exit status, None where it has not ended in time."""
        if self._status is not None:
            return self._status
        pidfd = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if poll.poll(PATIENCE * 1000):
                self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        finally:
            os.close(pidfd)
        return self._status

    def _said(self) -> list[str]:
        """Return the last lines of what was said, made safe to show, without our own name before them."""
        size = os.fstat(self._stderr).st_size
        data = os.pread(self._stderr, MOST_SAID, max(0, size - MOST_SAID))
        lines = (line.strip() for line in data.decode("utf-8", "backslashreplace").splitlines())
        return [terminal_text(line.removeprefix("utracectl: ")) for line in lines if line]


class RemoteSocket(LineSocket):
    """The stream to ssh, which ends with it."""

    def __init__(self, stream: socket.socket, ssh: Ssh) -> None:
        super().__init__(stream, ended=ssh.ended)
        self._ssh = ssh

    def close(self) -> None:
        """Close the stream, and wait for ssh to end."""
        super().close()
        self._ssh.finish()


def connect_host(host: str) -> Link:
    """Return a connection to the daemon of ``host``, or to an embedded worker there.

    ``host`` is what ssh takes; it asks for passwords at the terminal as always.  Raises ``NotConnected``; that the
    host cannot be reached is told by the first call, as ``ConnectionEnded``.
    """
    if not is_host(host):
        raise NotConnected(f"{host!r} is no host: name one as for ssh, HOST or USER@HOST, not beginning with -")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    stderr = os.memfd_create("ssh", os.MFD_CLOEXEC)
    with theirs:
        try:
            pid = _start(host, theirs.fileno(), stderr)
        except OSError as error:
            ours.close()
            os.close(stderr)
            raise NotConnected(f"cannot run {PROGRAM} ({error.strerror}): install an ssh client") from error
    return Link(RemoteSocket(ours, Ssh(host, pid, stderr)), json=True)


def become_bridge(host: str) -> NoReturn:
    """Become the ssh that carries lines between our standard streams and ``host``; raises ``NotConnected``."""
    # What Python ignores would stay ignored.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(PROGRAM, [PROGRAM, host, *REMOTE])
    except OSError as error:
        raise NotConnected(f"cannot run {PROGRAM} ({error.strerror}): install an ssh client") from error


def _start(host: str, stream: int, stderr: int) -> int:
    """Start ssh and return its pid.

    Ctrl-C is for us alone, who then let go of what is traced, which takes the connection: ssh keeps SIGINT ignored
    where it finds it so.
    """
    # Only the main thread may set signals, and only there does Ctrl-C mean something.
    ours = threading.current_thread() is threading.main_thread()
    former = signal.signal(signal.SIGINT, signal.SIG_IGN) if ours else None
    try:
        return os.posix_spawnp(
            PROGRAM,
            [PROGRAM, host, *REMOTE],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stream, 0),
                (os.POSIX_SPAWN_DUP2, stream, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    finally:
        if former is not None:
            signal.signal(signal.SIGINT, former)
