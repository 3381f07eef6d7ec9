"""Close descriptors that came from others without ever waiting for it.

The last close of a socket with SO_LINGER, of a FUSE or NFS file, or of a terminal may take seconds (close(2)).
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterable


class Closer:
    """One thread that closes what it is given, in turn; it starts with the first descriptor and is per process."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process = 0

    @property
    def behind(self) -> int:
        """How many descriptors wait for their turn."""
        return self._waiting.qsize()

    def end(self) -> None:
        """Let the thread end when it has closed what it was given."""
        if self._thread is not None and self._process == os.getpid():
            self._waiting.put(None)
            self._thread = None

    def close(self, fds: Iterable[int]) -> None:
        """Close ``fds`` soon; from now on they are not the caller's any more."""
        fds = tuple(fds)
        if not fds:
            return
        # A fork takes the queue along, but not the thread.
        if self._thread is None or self._process != os.getpid():
            self._process = os.getpid()
            self._waiting = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._run, args=(self._waiting,), name="closer", daemon=True)
            self._thread.start()
        for fd in fds:
            self._waiting.put(fd)

    @staticmethod
    def _run(waiting: queue.SimpleQueue[int | None]) -> None:
        """Close until told to end."""
        while (fd := waiting.get()) is not None:
            # The descriptor is gone whatever close(2) returns.
            with contextlib.suppress(OSError):
                os.close(fd)


_closer = Closer()
close_aside = _closer.close


def behind() -> int:
    """Return how many descriptors given to ``close_aside`` wait for their turn."""
    return _closer.behind
