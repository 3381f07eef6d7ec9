"""When zombies are reaped: their parents have waited for them, and their pids are free."""

from __future__ import annotations

import os
import select
import signal

from utraced.tracing.process import Process


class Reaping:
    """Processes that have ended, until they are reaped.

    ``fileno`` is readable when one is (a pidfd tells EPOLLHUP since Linux 6.9); before that kernel one has to look now
    and then.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, Process] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def fileno(self) -> int:
        """Return a descriptor to wait for."""
        return self._epoll.fileno()

    def add(self, process: Process) -> bool:
        """Begin to watch a process whose end was just told; return False where it is reaped already.

        In the moment since then its pid is nobody else's: all others would have to be given out before.
        """
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        self._waiting[pidfd] = process
        self._epoll.register(pidfd, 0)  # readable it is since its end: only the hang-up counts, which is always told
        return True

    def take(self, wanted: list[Process]) -> list[Process]:
        """Return the processes that are reaped by now; of the others only those that are ``wanted`` are kept."""
        found = []
        for pidfd, process in list(self._waiting.items()):
            reaped = _is_reaped(pidfd)
            if reaped or process not in wanted:
                del self._waiting[pidfd]
                os.close(pidfd)
                if reaped:
                    found.append(process)
        return found

    def close(self) -> None:
        """Watch no more."""
        for pidfd in self._waiting:
            os.close(pidfd)
        self._waiting.clear()
        self._epoll.close()


def _is_reaped(pidfd: int) -> bool:
    """Tell whether a process is gone; a zombie can be sent signals."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # a process that has changed its user
        return False
    return False
