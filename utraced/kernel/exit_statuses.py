"""How processes that are not our children have ended (PIDFD_GET_INFO, Linux 6.15; before they are reaped, /proc)."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress

from utraced.errors import NoSuchProcess

from .proc import Process

MOST = 1024
"""Processes of which one has a descriptor."""
_GET_INFO = 0xC040FF0B
_INFO = struct.Struct("=QQ11Ii")
_EXIT = 1 << 3
"""PIDFD_INFO_EXIT (include/uapi/linux/pidfd.h)."""


class ExitStatuses:
    """Knows processes by their pidfds; those that have come and gone between two looks it does not know."""

    def __init__(self) -> None:
        self._pidfds: dict[int, int] = {}

    def watch(self, pid: int) -> None:
        """Take note of a process."""
        if len(self._pidfds) < MOST and pid not in self._pidfds:
            with suppress(OSError):
                self._pidfds[pid] = os.pidfd_open(pid)

    def status(self, pid: int) -> int | None:
        """Return how a process has ended, as of wait(2), and forget it; None where that is not to be found out."""
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is None:
            return None
        try:
            status = _of_zombie(pid)
            # Only now: as long as it was a zombie its number was nobody else's.
            reaped = _of_reaped(pidfd)
        finally:
            os.close(pidfd)
        return status if reaped is None else reaped

    def close(self) -> None:
        """Forget all."""
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        self._pidfds.clear()


def _of_reaped(pidfd: int) -> int | None:
    try:
        info = fcntl.ioctl(pidfd, _GET_INFO, _INFO.pack(_EXIT, *[0] * 13))
    except OSError:
        return None
    mask, *_, code = _INFO.unpack(info)
    return code if mask & _EXIT else None


def _of_zombie(pid: int) -> int | None:
    try:
        with Process(pid) as process:
            data = process.read("stat")
    except (OSError, NoSuchProcess):
        return None
    # Fields 3 and 52, the last; the name before may hold any byte (proc_pid_stat(5)).
    fields = data[data.rindex(b")") + 2 :].split()
    return int(fields[-1]) if fields[0] == b"Z" else None
