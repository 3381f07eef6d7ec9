"""Processes and their numbers: who there is, groups and sessions, descriptors of processes, and their end."""

from __future__ import annotations

from utraced.syscalls.basics import Address, Enum, Fd, Flags, Hex, Int, Pid, Signal, Struct, Unsigned
from utraced.syscalls.call import Call
from utraced.syscalls.results import RETURNS_NONE
from utraced.syscalls.signature import Signature
from utraced.syscalls.tables.processes import KCMP_TYPES, PIDFD_FLAGS, UNSHARE_FLAGS

from .waiting import SigInfo


class EpollSlot(Struct):
    """``struct kcmp_epoll_slot`` (linux/kcmp.h)."""

    __slots__ = ()

    def text(self, data: bytes, call: Call) -> str:
        """See ``Struct.text``."""
        efd, tfd, toff = (int.from_bytes(data[start : start + 4], "little") for start in (0, 4, 8))
        return f"{{efd={efd}, tfd={tfd}, toff={toff}}}"


_INT = Int()
_PID = Pid()
_FD = Fd()
_SIGNAL = Signal()
_NONE = Signature()
_EXIT = Signature(_INT, returns=RETURNS_NONE)

_KCMP = (_PID, _PID, Enum(KCMP_TYPES, "KCMP_???"))
_KCMP_FILES = Signature(*_KCMP, _FD, _FD)
_KCMP_EPOLL = Signature(*_KCMP, _FD, EpollSlot(12))
_KCMP_PLAIN = Signature(*_KCMP)
_KCMP_OTHER = Signature(*_KCMP, Hex(), Hex())
KCMP_FILE, KCMP_EPOLL_TFD = 0, 7


def _kcmp(call: Call) -> Signature:
    kind = call.args[2] & 0xFFFFFFFF
    if kind == KCMP_FILE:
        return _KCMP_FILES
    if kind == KCMP_EPOLL_TFD:
        return _KCMP_EPOLL
    return _KCMP_PLAIN if kind < KCMP_EPOLL_TFD else _KCMP_OTHER


SIGNATURES = {
    "exit": _EXIT,
    "exit_group": _EXIT,
    "fork": _NONE,
    "vfork": _NONE,
    "getpid": _NONE,
    "gettid": _NONE,
    "getppid": _NONE,
    "getpgrp": _NONE,
    "getpgid": Signature(_PID),
    "setpgid": Signature(_PID, _PID),
    "getsid": Signature(_PID),
    "setsid": _NONE,
    "pause": _NONE,
    "kill": Signature(_PID, _SIGNAL),
    "tkill": Signature(_PID, _SIGNAL),
    "tgkill": Signature(_PID, _PID, _SIGNAL),
    "pidfd_open": Signature(_PID, Flags(PIDFD_FLAGS, "PIDFD_???")),
    "pidfd_send_signal": Signature(_FD, _SIGNAL, SigInfo(), Hex()),
    "pidfd_getfd": Signature(_FD, _FD, Hex()),
    "process_mrelease": Signature(_FD, Hex()),
    "kcmp": Signature(choose=_kcmp),
    "unshare": Signature(Flags(UNSHARE_FLAGS, "CLONE_???", bits=64)),
    "setns": Signature(_FD, Flags(UNSHARE_FLAGS, "CLONE_???")),
    "set_tid_address": Signature(Address()),
    "acct": Signature(Address()),
    "ioperm": Signature(Hex(), Hex(), _INT),
    "iopl": Signature(_INT),
    "alarm": Signature(Unsigned()),
}
