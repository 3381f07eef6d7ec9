"""The memory of other processes: /proc/PID/mem, which may be read from any thread and without stopping anything."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from time import monotonic
from typing import Self

from utraced.errors import BadAddress, NoSuchProcess, TimedOut
from utraced.linux.memfd import punch
from utraced.linux.pidfd import alive, open_pidfd
from utraced.model import hex_text

from .maps import file_at, read_maps
from .proc import Process
from .window import Window

Span = tuple[int, int]
"""Start and end of a part of memory."""

PAGE = 4096
CHUNK = 65536
UNREADABLE = frozenset({errno.EIO, errno.EFAULT})
PATIENCE = 5.0
"""Seconds one request may read: a hole of terabytes is looked at page by page."""


class TargetMemory:
    """A process's memory and age, as ``tracing.process.Target`` wants them.

    The descriptor is opened when first needed, and anew after an exec: it stays with the memory it was opened on.
    """

    __slots__ = ("_fd", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1

    def read(self, address: int, size: int) -> bytes:
        """Return the ``size`` bytes at ``address``; fewer, or none, where the readable part ends."""
        try:
            if self._fd < 0:
                self._fd = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._fd, size, address)
        except (OSError, OverflowError):
            # EIO: not mapped; ENOENT, ESRCH, EACCES: dying or no longer ours; OverflowError: beyond off_t, so kernel
            # space.  A decoder shows the address instead.
            return b""
        while 0 < len(data) < size:
            # The kernel stops short at the first unreadable page, but also at a page it moves bytes by: ask once more.
            try:
                more = os.pread(self._fd, size - len(data), address + len(data))
            except (OSError, OverflowError):
                break
            if not more:
                break
            data += more
        return data

    def string(self, address: int, limit: int) -> tuple[bytes, bool]:
        """Return at most ``limit`` bytes before a NUL, and whether the NUL comes right after them."""
        data = b""
        wanted = limit + 1
        while len(data) < wanted:
            start = address + len(data)
            # Page by page: most strings are short, and what follows them may be unmapped.
            size = min(wanted - len(data), PAGE - start % PAGE)
            part = self.read(start, size)
            end = part.find(b"\0")
            if end >= 0:
                return data + part[:end], True
            data += part
            if len(part) < size:
                break
        return data[:limit], False

    def write(self, address: int, data: bytes) -> bool:
        """Write into the memory; return whether all of ``data`` was."""
        try:
            fd = os.open(f"/proc/{self.pid}/mem", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False  # dying, or no longer ours
        try:
            return os.pwrite(fd, data, address) == len(data)
        except (OSError, OverflowError):
            return False
        finally:
            os.close(fd)

    def renew(self) -> None:
        """Forget the old image after an exec."""
        self.close()

    def start_time(self) -> int:
        """Return field 22 of /proc/PID/stat in clock ticks, 0 where the process is gone."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb", buffering=0) as file:
                stat = file.read()
        except OSError:
            return 0
        return int(stat[stat.rindex(b")") + 2 :].split()[19])

    def file_at(self, address: int) -> tuple[bytes, int] | None:
        """Return the path of the file that is mapped at ``address``, and where its beginning is; None where none is."""
        try:
            with Process(self.pid) as process:
                return file_at(read_maps(process), address)
        except (NoSuchProcess, PermissionError):
            return None

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Reader:
    """Reads a process's memory for a client: exactly, or around the holes.

    With ``start_time`` (clock ticks after boot) it is that process, and not one that has its pid now.
    """

    def __init__(self, pid: int, start_time: int | None = None) -> None:
        self.pid = pid
        self._start_time = start_time
        self._fd = -1

    def __enter__(self) -> Self:
        """Open the memory; raises PermissionError, NoSuchProcess."""
        with Process(self.pid, self._start_time) as process:
            self._fd = process.open("mem")
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self._fd)

    def read(self, address: int, size: int, *, partial: bool) -> tuple[bytes, list[Span]]:
        """Return ``size`` bytes at ``address``, and with ``partial`` the holes in them, which are zero.

        Raises BadAddress at the first unreadable byte, unless ``partial``.
        """
        data = bytearray(size)
        view = memoryview(data)
        holes = self._each(
            address, size, lambda at, most: self.into(address + at, view[at : at + most]), partial=partial
        )
        return bytes(data), holes

    def copy(self, address: int, size: int, fd: int, *, partial: bool) -> tuple[int, list[Span]]:
        """Write the same to the file ``fd`` from its offset 0; return the size instead of the data.

        Raises OSError where ``fd`` cannot be written.
        """
        os.ftruncate(fd, 0)
        buffer = memoryview(bytearray(min(size, CHUNK)))

        def move(at: int, most: int) -> int:
            done = self.into(address + at, buffer[:most])
            _write(fd, at, buffer[:done])
            return done

        holes = self._each(address, size, move, partial=partial)
        os.ftruncate(fd, size)
        return size, holes

    def fill(self, address: int, size: int, fd: int, window: Window, *, partial: bool) -> tuple[int, list[Span]]:
        """Write the same through a window of a client's memory file ``fd``.

        Raises OSError where the file has become too small.
        """

        def move(at: int, most: int) -> int:
            moved = window.take(self.pid, address + at, at, most)
            # Protected from the process itself, it can be read all the same, in another way.
            moved = moved or self.into(address + at, window.view[at : at + min(most, CHUNK)])
            if not moved and os.fstat(fd).st_size < size:
                raise OSError(errno.EINVAL, "the file has become smaller")
            return moved

        pidfd = open_pidfd(self.pid)
        try:
            holes = self._each(address, size, move, partial=partial, piece=Window.PIECE)
            if not alive(pidfd):
                # Its pid may have become somebody else's meanwhile.
                raise NoSuchProcess(f"process {self.pid} has ended", pid=self.pid)
        finally:
            os.close(pidfd)
        for start, end in holes:
            punch(fd, start - address, end - address)
        return size, holes

    def into(self, address: int, buffer: memoryview) -> int:
        """Read into a buffer as far as the readable part goes; return how far.  Raises NoSuchProcess."""
        try:
            return os.preadv(self._fd, [buffer], address)
        except OverflowError:  # beyond off_t, so kernel space
            return 0
        except OSError as error:
            if error.errno in UNREADABLE:
                return 0
            if error.errno == errno.ESRCH:
                raise NoSuchProcess(f"process {self.pid} has ended", pid=self.pid) from None
            raise

    def _each(
        self, address: int, size: int, move: Callable[[int, int], int], *, partial: bool, piece: int = CHUNK
    ) -> list[Span]:
        """Read piece by piece; return the unreadable pages, joined.

        ``move`` reads at an offset at most so many bytes, and returns how many there were to be read.
        """
        holes: list[Span] = []
        done = 0
        deadline = monotonic() + PATIENCE
        while done < size:
            if monotonic() > deadline:
                raise TimedOut(
                    f"{done} of {size} bytes took longer than {PATIENCE:.0f} s",
                    hint="Read what process.maps lists, not the holes between.",
                )
            moved = move(done, min(piece, size - done))
            if moved:
                done += moved
                continue
            start = address + done
            if not partial:
                raise BadAddress(
                    f"address {start:#x} of process {self.pid} cannot be read", address=hex_text(start), done=done
                )
            end = min(address + size, (start // PAGE + 1) * PAGE)
            if holes and holes[-1][1] == start:
                holes[-1] = (holes[-1][0], end)
            else:
                holes.append((start, end))
            done = end - address
        return holes


def _write(fd: int, offset: int, data: memoryview) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
