"""The kernel's tracepoints, by their numbers in tracefs (Documentation/trace/events.rst)."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from utraced.linux.capabilities import permitted

PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FOLDER = "events"
_CAP_SYS_ADMIN = 1 << 21
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
"""<asm/unistd_64.h>."""
_CLOEXEC, _CREATE = 1, 6
"""FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC, FSCONFIG_CMD_CREATE (include/uapi/linux/mount.h)."""
_OTHER_NAMES = {
    "fstat": "newfstat",
    "lstat": "newlstat",
    "sendfile": "sendfile64",
    "stat": "newstat",
    "umount2": "umount",
    "uname": "newuname",
}
"""As what calls stand there whose function in the kernel has another name than their number in <asm/unistd_64.h>."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc["syscall"]
_syscall.restype = ctypes.c_long


class Tracepoints:
    """Those of the running kernel; none are known where tracefs cannot be had."""

    def __init__(self, folder: int | None = None) -> None:
        self._folder = folder
        self._known: dict[str, int | None] = {}

    def of_call(self, name: str) -> tuple[int, int] | None:
        """Return the numbers of the tracepoints at the entry and the exit of a call, None where it has none."""
        name = _OTHER_NAMES.get(name, name)
        entry, leave = self.number(f"syscalls/sys_enter_{name}"), self.number(f"syscalls/sys_exit_{name}")
        return None if entry is None or leave is None else (entry, leave)

    def number(self, name: str) -> int | None:
        """Return the number of the tracepoint ``subsystem/name``, None where it is not there."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> int | None:
        if self._folder is None:
            return None
        try:
            file = os.open(f"{name}/id", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return None
        with open(file, "rb") as opened:
            text = opened.read(32).strip()
        return int(text) if text.isdigit() else None


def find() -> Tracepoints:
    """Return the tracepoints of this kernel: from where tracefs is mounted, or else from a mount that nobody sees.

    The latter needs CAP_SYS_ADMIN, which may be given up afterwards.
    """
    for place in PLACES:
        with suppress(OSError):
            return Tracepoints(os.open(f"{place}/{_FOLDER}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    if permitted() & _CAP_SYS_ADMIN:
        with suppress(OSError):
            return Tracepoints(_mounted())
    return Tracepoints()


def _mounted() -> int:
    """Return the folder of the events in a tracefs that is mounted nowhere; raises OSError."""
    context = _call(_FSOPEN, b"tracefs", _CLOEXEC)
    try:
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        mount = _call(_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        return os.open(_FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    finally:
        # What is open in it stays usable.
        os.close(mount)


def _call(number: int, *arguments: bytes | int | None) -> int:
    """Make a system call; raises OSError."""
    given = (ctypes.c_long(one) if isinstance(one, int) else ctypes.c_char_p(one) for one in arguments)
    result: int = _syscall(ctypes.c_long(number), *given)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
