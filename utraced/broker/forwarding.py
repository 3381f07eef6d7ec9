"""Tracing as somebody else: hands the connections of a socket to the broker, for one user's worker.

Who may connect there is for the socket's file to say: its owner, group and mode.
"""

from __future__ import annotations

import os
import pwd
import selectors
import socket
from collections.abc import Sequence
from time import monotonic, sleep

from utraced.linux import handing
from utraced.linux.closing import close_aside
from utraced.linux.handing import HandOn
from utraced.linux.identity import Identity, identity
from utraced.linux.listening import CannotListen, Inherited, place
from utraced.linux.saying import log
from utraced.linux.systemd import Notifier
from utraced.model import SessionAccess

OBSERVING = "observe"
"""The FileDescriptorName= of a socket whose sessions may only look."""
PATIENCE = 5.0
"""Seconds that a broker may take to start anew."""
BETWEEN = 0.02


def identity_of(name: str) -> Identity:
    """Return whom the worker of user ``name`` is, with the groups of a login; raises CannotListen."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise CannotListen(f"there is no user {name!r}: name one of this machine with --as") from None
    if user.pw_uid == 0:
        raise CannotListen("root is traced by root alone, at the system's socket: name another user with --as")
    return identity(user.pw_uid, user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid))


def forward(listeners: Sequence[Inherited], user: str, broker: str, notifier: Notifier) -> None:
    """Hand each connection at ``listeners`` to the broker at its hand-over socket, as ``user``'s, for ever.

    Raises CannotListen where there is no such user.
    """
    who = identity_of(user)
    selector = selectors.DefaultSelector()
    for listener in listeners:
        selector.register(listener.socket, selectors.EVENT_READ, listener)
    log.info("pid %d hands on who connects at %s, as %s", os.getpid(), _names(listeners), user)
    notifier.tell(READY=1, STATUS=f"Handing on who connects at {_names(listeners)}, as {user}")
    while True:
        for key, _ in selector.select():
            listener = key.data
            try:
                sock, _address = listener.socket.accept()
            except OSError as error:
                log.error("cannot take a connection: %s", error.strerror)
                sleep(BETWEEN)  # it waits to be accepted, and would wake us at once
                continue
            access: SessionAccess = "observe" if listener.name == OBSERVING else "full"
            try:
                _hand_on(broker, HandOn(place(listener), access, who), sock.fileno())
            except OSError as error:
                log.error("cannot hand a connection on to %s: %s", broker, error.strerror)
            close_aside([sock.detach()])


def _hand_on(broker: str, message: HandOn, fd: int) -> None:
    """Give the broker a connection; raises OSError where there is none for longer than a new one takes to start."""
    deadline = monotonic() + PATIENCE
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
            try:
                channel.connect(broker)
                handing.send(channel, message, [fd])
                return
            except OSError:
                if monotonic() > deadline:
                    raise
        sleep(BETWEEN)


def _names(listeners: Sequence[Inherited]) -> str:
    return ", ".join(map(place, listeners))
