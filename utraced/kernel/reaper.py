"""Reaps dead threads while PTRACE_SEIZE waits for an exec that waits for us.

An execve holds its process's cred_guard_mutex until all other threads are gone, and those that are traced are gone only
when their tracer has waited for them (de_thread, fs/exec.c).  PTRACE_SEIZE of a further thread takes the same mutex
(ptrace_attach, kernel/ptrace.c), so a tracer that has seized some threads and seizes the next would wait for itself.
"""

from __future__ import annotations

import os
import threading

WALL = 0x4000_0000
PATIENCE = 0.02
"""Seconds that a PTRACE_SEIZE may take before the dead are looked for, and between looks."""


class Reaper:
    """Reaps what has died, from a second thread; ``statuses``, of stops as well, are then for the tracer to take."""

    def __init__(self) -> None:
        self.statuses: list[tuple[int, int]] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start looking, if that has not begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop looking; afterwards ``statuses`` is complete."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(PATIENCE):
            try:
                while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | WALL)) is not None:
                    self.statuses.append((found.si_pid, wait_status(found.si_code, found.si_status)))
            except ChildProcessError:
                pass  # whom we trace has not died


def wait_status(code: int, status: int) -> int:
    """Return waitpid's status for what waitid(2) tells in ``si_code`` and ``si_status``.

    Of tracees the kernel tells stops too, asked for or not (wait_task_stopped, kernel/exit.c); ``si_status`` then has
    the event in its second byte.
    """
    if code == os.CLD_EXITED:
        return status << 8
    if code in {os.CLD_TRAPPED, os.CLD_STOPPED}:
        return status << 8 | 0x7F
    return status | (0x80 if code == os.CLD_DUMPED else 0)
