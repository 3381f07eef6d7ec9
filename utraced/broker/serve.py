"""The life of the system's broker, and of the process that hands connections on to it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence

from utraced.configuration import Configuration
from utraced.linux.attaching import lacking
from utraced.linux.capabilities import permitted
from utraced.linux.configuration_file import by_number
from utraced.linux.limits import raise_open_files
from utraced.linux.listening import FOR_ALL, CannotListen, Inherited, Listener, place
from utraced.linux.prctl import set_name
from utraced.linux.starting import command, start
from utraced.linux.systemd import Notifier
from utraced.linux.trimming import trim

from .admission import Admission, usable
from .broker import Broker
from .forwarding import forward

SYSTEM_SOCKET = "/run/utraced/utraced.sock"
HAND_OVER = "as.sock"
"""Beside the system's socket: where root's processes hand on the connections at the sockets in ``as/``."""


def serve_system(
    inherited: Sequence[Inherited], path: str | None, notifier: Notifier, configuration: Configuration
) -> None:
    """Serve all users at the sockets passed on and at ``path``, by default the system's where none are passed on.

    Raises CannotListen.
    """
    _check()
    configuration = by_number(configuration)
    listeners: list[Inherited | Listener] = list(inherited)
    hand_over = None
    try:
        if path is not None or not inherited:
            listeners.append(_listener(path or SYSTEM_SOCKET))
        hand_over = _hand_over(place(listeners[0]))
        set_name("utraced-broker")
        raise_open_files()
        trim()
        # Nothing is to be known of how the template ended: the kernel reaps it.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        Broker(
            listeners,
            hand_over,
            admission=Admission(foreign_pid_namespaces=configuration.broker.foreign_pid_namespaces),
            start_template=start_template,
            configuration=configuration,
            lacking=lacking(permitted()),
        ).run(notifier)
    finally:
        for listener in (*listeners, *([hand_over] if hand_over else [])):
            listener.close()


def serve_as(user: str, inherited: Sequence[Inherited], notifier: Notifier) -> None:
    """Hand those who connect at the sockets passed on to the broker, to trace as ``user``; raises CannotListen."""
    if not inherited:
        raise CannotListen("--as serves sockets that a service manager passes on: start utraced-as@USER.socket")
    folder = os.path.dirname(place(inherited[0]))
    forward(inherited, user, os.path.join(os.path.dirname(folder), HAND_OVER), notifier)


def start_template() -> socket.socket:
    """Start a template, and return the channel to it; raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            start(command("--template", str(theirs.fileno())), theirs.fileno(), os.environ)
        except OSError:
            ours.close()
            raise
    return ours


def _check() -> None:
    """Raise CannotListen where this process or this kernel cannot do what a broker does."""
    if os.geteuid() != 0:
        raise CannotListen("--system needs root, who alone can be each user: run utraced --socket PATH for yourself")
    if not usable():
        raise CannotListen(
            "this kernel does not say for certain who connects (SO_PEERPIDFD, Linux 6.5): let each user run utraced "
            "--socket PATH, or utracectl, which needs no daemon"
        )


def _listener(path: str) -> Listener:
    if path == SYSTEM_SOCKET:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    return Listener(path, FOR_ALL)


def _hand_over(beside: str) -> Listener | None:
    """Return the hand-over socket beside the system's, None where that is in no folder."""
    folder = os.path.dirname(beside)
    return Listener(os.path.join(folder, HAND_OVER)) if folder else None
