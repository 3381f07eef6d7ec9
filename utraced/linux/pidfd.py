"""Processes by file descriptor, which no reused pid can fool (pidfd_open(2))."""

from __future__ import annotations

import errno
import os
import select
import signal

from utraced.errors import NoSuchProcess, PermissionDenied
from utraced.linux.errno_errors import error_of


def open_pidfd(pid: int) -> int:
    """Return a pidfd, close-on-exec, of process ``pid``; close it.

    Raises NoSuchProcess, also where ``pid`` is that of a thread which does not lead its process.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # For a thread that is no leader: EINVAL, since Linux 6.15 ENOENT.
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            raise NoSuchProcess(f"{pid} is a thread, not a process", hint="Name the process it belongs to.") from error
        raise error_of(error, pid=pid) from error


def alive(pidfd: int) -> bool:
    """Tell whether the process still runs: a zombie does not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def pid_of(pidfd: int) -> int:
    """Return the pid of a process, zombies included, in our pid namespace (proc_pid_fdinfo(5)).

    Raises ValueError where the descriptor is no pidfd, NoSuchProcess where the process is gone or not in our namespace.
    """
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("Pid:"):
                pid = int(line[4:])
                if pid > 0:
                    return pid
                raise NoSuchProcess("the process has ended" if pid < 0 else "the process is in another pid namespace")
    raise ValueError("the descriptor is no pidfd")


def send_signal(pidfd: int, number: int) -> None:
    """Send a signal to the process; 0 only asks whether one might.

    Raises NoSuchProcess, and PermissionDenied where kill(2) says so.
    """
    try:
        signal.pidfd_send_signal(pidfd, number)
    except PermissionError as error:
        raise PermissionDenied(
            "the process belongs to another user", reason="not_owner", hint="Send signals to processes of your own."
        ) from error
    except OSError as error:
        raise error_of(error) from error
