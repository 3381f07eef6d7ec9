"""Capabilities of this process, as masks of bits, and how to give them up for good (capabilities(7))."""

from __future__ import annotations

import ctypes
import os
import struct

from utraced.linux.prctl import prctl

CAP_SETGID = 1 << 6
CAP_SETUID = 1 << 7
CAP_IPC_LOCK = 1 << 14
CAP_SYS_PTRACE = 1 << 19
"""linux/include/uapi/linux/capability.h."""

_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION = 0x2008_0522
"""_LINUX_CAPABILITY_VERSION_3: 64 bits in two halves."""

_HEADER = struct.Struct("=Ii")
_DATA = struct.Struct("=6I")
_HALF = 0xFFFF_FFFF

_libc = ctypes.CDLL(None, use_errno=True)


def set_capabilities(mask: int) -> None:
    """Make ``mask`` the permitted and effective capabilities, and none inheritable or ambient (capset(2)).

    Raises PermissionError for one that is not permitted now.
    """
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    low, high = mask & _HALF, mask >> 32
    header = ctypes.create_string_buffer(_HEADER.pack(_VERSION, 0))
    data = ctypes.create_string_buffer(_DATA.pack(low, low, 0, high, high, 0))
    if _libc.capset(header, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def drop_bounding(keep: int) -> None:
    """Give up, for ever, every capability that an execve could still bring, except those in ``keep``.

    Raises PermissionError without CAP_SETPCAP.
    """
    number = 0
    while (there := _bounding(number)) is not None:
        if there and not keep >> number & 1:
            prctl(_PR_CAPBSET_DROP, number)
        number += 1


def permitted() -> int:
    """Return our permitted capabilities (proc_pid_status(5))."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def _bounding(number: int) -> bool | None:
    """Tell whether a capability is in the bounding set, None where the kernel knows no such capability."""
    try:
        return bool(prctl(_PR_CAPBSET_READ, number))
    except OSError:
        return None
