"""Finding a daemon to talk to, or starting one of our own.

In order: the socket that ``UTRACED_SOCKET`` names, the system's, the user's, and where none of the last two answers an
embedded worker at the other end of a socketpair, which ends when we do.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from utracectl.messages import Failure

SYSTEM_SOCKET = "/run/utraced/utraced.sock"
USER_SOCKET = "utraced/utraced.sock"
"""Below ``XDG_RUNTIME_DIR``."""

_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR, errno.EACCES})


class NotConnected(Failure):
    """Nobody answers at the socket asked for, or no worker can be started; the message says what to do."""


class Link(NamedTuple):
    """A connected socket, and the pid of the worker where it was started for it (else None).

    ``json``: it carries packets of JSON only.
    """

    socket: socket.socket
    worker: int | None = None
    json: bool = False


def connect_socket(environment: Mapping[str, str] | None = None, *, host: str | None = None) -> Link:
    """Return a connection to a daemon, or to an embedded worker; to those of ``host``, by ssh, where it is given.

    ``environment`` is this process's by default.  Raises ``NotConnected``.
    """
    if host is not None:
        # Of no use to all others.
        from utracectl.remote import connect_host

        return connect_host(host)
    environment = os.environ if environment is None else environment
    asked = environment.get("UTRACED_SOCKET")
    if asked:
        return Link(_open(asked))
    for path in _usual_paths(environment):
        try:
            return Link(_open(path))
        except NotConnected as error:
            cause = error.__cause__
            if not (isinstance(cause, OSError) and cause.errno in _ABSENT):
                raise
    return start_worker(environment)


def start_worker(environment: Mapping[str, str] | None = None) -> Link:
    """Start a worker that serves this one connection.

    It is in a session of its own, so that Ctrl-C at our terminal does not end it, and shares our stderr.  Raises
    ``NotConnected``.
    """
    environment = os.environ if environment is None else environment
    if not sys.executable:
        raise NotConnected("cannot start a worker: this Python does not know its own program (sys.executable)")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.set_inheritable(True)
        # -P: a utraced.py in the current directory is not ours (python(1)).
        arguments = [sys.executable, "-P", "-m", "utraced", "--connected", str(theirs.fileno())]
        try:
            pid = os.posix_spawn(
                sys.executable,
                arguments,
                _worker_environment(environment),
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                setsid=True,
            )
        except OSError as error:
            ours.close()
            raise NotConnected(f"cannot start a worker: {sys.executable}: {error.strerror}") from error
    return Link(ours, pid)


def _usual_paths(environment: Mapping[str, str]) -> list[str]:
    """Return the sockets that daemons listen at."""
    paths = [SYSTEM_SOCKET]
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        paths.append(os.path.join(runtime, USER_SOCKET))
    return paths


def _open(path: str) -> socket.socket:
    """Return a socket connected to the daemon at ``path``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(path)
    except (OSError, ValueError) as error:
        sock.close()
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotConnected(
            f"no utraced answers at {path} ({why}): start it, or unset UTRACED_SOCKET to do without"
        ) from error
    return sock


def _worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which the worker finds the package that we are from."""
    changed = dict(environment)
    root = Path(__file__).resolve().parent.parent
    if root.name not in {"site-packages", "dist-packages"}:
        # We run from a source tree: after what the user has there, so that nothing of his changes its meaning.
        changed["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), str(root)]))
    return changed
