"""Writing the memory of a traced process, text that is read-only for itself too (FOLL_FORCE of /proc/PID/mem)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from time import monotonic
from typing import Self

from utraced.errors import BadAddress, NoSuchProcess, TimedOut
from utraced.model import hex_text

from .memory import CHUNK, PATIENCE, UNREADABLE
from .proc import Process


class Writer:
    """Writes a process's memory; ``start_time`` (clock ticks after boot) tells it from one that has its pid later.

    A page that the process shares with others is copied for it first, unless they are to see what it writes
    (MAP_PRIVATE, MAP_SHARED).
    """

    def __init__(self, pid: int, start_time: int | None = None) -> None:
        self.pid = pid
        self._start_time = start_time
        self._fd = -1

    def __enter__(self) -> Self:
        """Open the memory; raises PermissionError, NoSuchProcess."""
        with Process(self.pid, self._start_time) as process:
            self._fd = process.open("mem", os.O_RDWR)
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self._fd)

    def write(self, address: int, data: bytes, *, done: int = 0) -> None:
        """Write all of ``data`` at ``address``.

        Raises BadAddress at the first byte that cannot be written, where those before it are; ``done`` were before
        ``data``.
        """
        view = memoryview(data)
        at = 0
        while at < len(view):
            written = self._write(address + at, view[at:])
            if not written:
                raise self._unwritable(address + at, done + at)
            at += written

    def copy(self, address: int, size: int, fd: int, *, abandoned: Callable[[], bool]) -> None:
        """Write the first ``size`` bytes of the file ``fd``, until ``abandoned`` says that nobody wants it any more.

        Raises BadAddress, TimedOut, and OSError where the file cannot be read or is too short.
        """
        deadline = monotonic() + PATIENCE
        done = 0
        while done < size and not abandoned():
            if monotonic() > deadline:
                raise TimedOut(
                    f"{done} of {size} bytes took longer than {PATIENCE:.0f} s", hint="Write the rest by itself."
                )
            data = os.pread(fd, min(CHUNK, size - done), done)
            if not data:
                raise OSError(errno.EINVAL, f"the file ends after {done} bytes")
            self.write(address + done, data, done=done)
            done += len(data)

    def _write(self, address: int, data: memoryview) -> int:
        """Write as far as that is possible; return how far.  Raises NoSuchProcess."""
        try:
            written = os.pwrite(self._fd, data, address)
        except OverflowError:  # beyond off_t, so kernel space
            return 0
        except OSError as error:
            if error.errno in UNREADABLE:
                return 0
            if error.errno == errno.ESRCH:
                raise NoSuchProcess(f"process {self.pid} has ended", pid=self.pid) from None
            raise
        if not written:  # its memory is gone (mem_rw in fs/proc/base.c)
            raise NoSuchProcess(f"process {self.pid} has ended", pid=self.pid)
        return written

    def _unwritable(self, address: int, done: int) -> BadAddress:
        """Return the error for an address, with what may be the cause."""
        hint = None
        try:
            if os.pread(self._fd, 1, address):
                hint = (
                    "It can be read: its mapping is shared and read-only, or the kernel is told not to let tracers"
                    " write what is read-only (proc_mem.force_override)."
                )
        except (OSError, OverflowError):
            pass
        return BadAddress(
            f"address {address:#x} of process {self.pid} cannot be written",
            address=hex_text(address),
            done=done,
            hint=hint,
        )
