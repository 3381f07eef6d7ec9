"""Sockets from a service manager, and word to it (sd_listen_fds(3), sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import NamedTuple

FIRST = 3
"""SD_LISTEN_FDS_START."""


class Passed(NamedTuple):
    """A descriptor that the service manager passed on; ``name`` is its FileDescriptorName=."""

    fd: int
    name: str


def passed(environment: MutableMapping[str, str]) -> list[Passed]:
    """Return the descriptors that are for this process, from now on close-on-exec.

    Takes LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PIDFDID out of ``environment``.  Raises ValueError where
    they are no numbers, or a descriptor is not open.
    """
    pid, count, names = (environment.pop(f"LISTEN_{word}", "") for word in ("PID", "FDS", "FDNAMES"))
    environment.pop("LISTEN_PIDFDID", None)
    if not pid or not count or int(pid) != os.getpid():
        return []
    given = names.split(":") if names else []
    found = []
    for position in range(int(count)):
        fd = FIRST + position
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            raise ValueError(f"LISTEN_FDS is {count}, but descriptor {fd} is not open") from error
        found.append(Passed(fd, given[position] if position < len(given) else "unknown"))
    return found


class Notifier:
    """Tells the service manager how we are; without NOTIFY_SOCKET it tells nobody."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")

    def tell(self, **words: str | int) -> None:
        """Send assignments (READY=1, STATUS=…) in one datagram; whether anybody takes it is not our concern."""
        # "@" stands for the zero byte of an abstract name (unix(7)); a vsock address is of a virtual machine's guest.
        if self._address[:1] not in {"/", "@"}:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        text = "\n".join(f"{name}={value}" for name, value in words.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), address)
