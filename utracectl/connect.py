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
from typing import NamedTuple

from utracectl.messages import Failure
from utraced.linux.starting import command, start

SYSTEM_SOCKET = "/run/utraced/utraced.sock"
USER_SOCKET = "utraced/utraced.sock"
"""Below ``XDG_RUNTIME_DIR``."""

_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR, errno.EACCES})


class NotConnected(Failure):
    """Nobody answers at the socket asked for, or no worker can be started; the message says what to do."""


class Link(NamedTuple):
    """A connected socket, and the pid of the worker where it was started for it (else None).

    ``json``: it carries packets of JSON only.  ``usual``: nobody named the socket, so that a private worker will do.
    """

    socket: socket.socket
    worker: int | None = None
    json: bool = False
    usual: bool = False


class Found(NamedTuple):
    """A connection to a daemon and the path of its socket, None where none listens; the paths that were ``passed``."""

    link: Link | None
    path: str | None
    passed: tuple[str, ...] = ()


def connect_socket(environment: Mapping[str, str] | None = None, *, host: str | None = None) -> Link:
    """Return a connection to a daemon, or to an embedded worker; to those of ``host``, by ssh, where it is given.

    ``environment`` is this process's by default.  Raises ``NotConnected``.
    """
    if host is not None:
        # Of no use to all others.
        from utracectl.remote import connect_host

        return connect_host(host)
    return find_daemon(environment).link or start_worker(environment)


def find_daemon(environment: Mapping[str, str] | None = None) -> Found:
    """Return a connection to the first daemon that listens, and why those before it were passed over.

    Raises ``NotConnected`` where ``UTRACED_SOCKET`` names one that does not answer, or one that there is cannot be
    talked to.
    """
    environment = os.environ if environment is None else environment
    asked = environment.get("UTRACED_SOCKET")
    if asked:
        return Found(Link(open_socket(asked)), asked)
    passed: list[str] = []
    for path in _usual_paths(environment):
        try:
            return Found(Link(open_socket(path), usual=True), path, tuple(passed))
        except NotConnected as error:
            cause = error.__cause__
            if not (isinstance(cause, OSError) and cause.errno in _ABSENT):
                raise
            passed.append(f"{path} ({cause.strerror})")
    return Found(None, None, tuple(passed))


def start_worker(environment: Mapping[str, str] | None = None) -> Link:
    """Start a worker that serves this one connection.

    It is in a session of its own, so that Ctrl-C at our terminal does not end it, and shares our stderr.  Raises
    ``NotConnected``.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            words = command("--connected", str(theirs.fileno()))
            pid = start(words, theirs.fileno(), os.environ if environment is None else environment, session=True)
        except (OSError, ValueError) as error:
            ours.close()
            why = f"{sys.executable}: {error.strerror}" if isinstance(error, OSError) else error
            raise NotConnected(f"cannot start a worker: {why}") from error
    return Link(ours, pid)


def _usual_paths(environment: Mapping[str, str]) -> list[str]:
    """Return the sockets that daemons listen at."""
    paths = [SYSTEM_SOCKET]
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        paths.append(os.path.join(runtime, USER_SOCKET))
    return paths


def open_socket(path: str) -> socket.socket:
    """Return a socket connected to the daemon at ``path``; raises ``NotConnected``."""
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
