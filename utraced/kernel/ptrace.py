"""ptrace(2), called directly: the modern requests, which python-ptrace's binding does not have.

Every call can find its thread gone (ESRCH): such a thread is dying and will tell so to waitpid.  Calls that may meet
that return whether they worked; other errors are raised.
"""

from __future__ import annotations

import ctypes
import errno
import os
from struct import Struct

PTRACE_CONT = 7
PTRACE_SINGLESTEP = 9
PTRACE_GETREGS = 12
PTRACE_GETFPREGS = 14
PTRACE_DETACH = 17
PTRACE_SYSCALL = 24
PTRACE_SINGLEBLOCK = 33
PTRACE_SETOPTIONS = 0x4200
PTRACE_GETEVENTMSG = 0x4201
PTRACE_GETSIGINFO = 0x4202
PTRACE_GETREGSET = 0x4204
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_LISTEN = 0x4208
PTRACE_GET_SYSCALL_INFO = 0x420E
PTRACE_PEEKUSER = 3
PTRACE_POKEUSER = 6
PTRACE_SETFPREGS = 15
PTRACE_SETREGSET = 0x4205
PTRACE_SETSIGINFO = 0x4203
PTRACE_PEEKSIGINFO = 0x4209

O_TRACESYSGOOD = 0x01
O_TRACEFORK = 0x02
O_TRACEVFORK = 0x04
O_TRACECLONE = 0x08
O_TRACEEXEC = 0x10
O_TRACEVFORKDONE = 0x20
O_TRACEEXIT = 0x40
O_TRACESECCOMP = 0x80
O_EXITKILL = 0x10_0000
OPTIONS = O_TRACESYSGOOD | O_TRACEFORK | O_TRACEVFORK | O_TRACECLONE | O_TRACEEXEC | O_TRACEVFORKDONE
"""Set on every tracee: without clone, fork and vfork new threads would escape; EXITKILL is not among them."""

EVENT_FORK = 1
EVENT_VFORK = 2
EVENT_CLONE = 3
EVENT_EXEC = 4
EVENT_VFORK_DONE = 5
EVENT_EXIT = 6
EVENT_SECCOMP = 7
EVENT_STOP = 128

INFO_ENTRY = 1
INFO_EXIT = 2
INFO_SECCOMP = 3
SYSCALL_INFO = Struct("<B3xIQQQ6Q")
"""struct ptrace_syscall_info: op, arch, instruction and stack pointer, then nr and args, or rval and is_error."""
SYSCALL_INFO_SIZE = 88
SIGINFO_KEPT = 48

# PyDLL keeps the interpreter lock: these requests do not block, and handing the lock over costs more than the call.
_libc = ctypes.PyDLL(None, use_errno=True)
_ptrace = _libc["ptrace"]
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long

# PTRACE_SEIZE may wait for an exec (see ``reaper``): this one lets other threads run.
_waiting_ptrace = ctypes.CDLL(None, use_errno=True)["ptrace"]
_waiting_ptrace.argtypes = _ptrace.argtypes
_waiting_ptrace.restype = ctypes.c_long

# The same for the two calls of every stop, with small integers only: without argtypes, and without keeping errno,
# ctypes takes a third less.
_quick = ctypes.PyDLL(None)["ptrace"]
_quick.restype = ctypes.c_long

_info = ctypes.create_string_buffer(SYSCALL_INFO_SIZE)
_info_pointer = ctypes.c_void_p(ctypes.addressof(_info))
_unpack_info = SYSCALL_INFO.unpack_from


def call(request: int, tid: int, address: int = 0, data: int = 0) -> int:
    """Make one ptrace call; return its value.

    Raises OSError with the kernel's errno.
    """
    value: int = _ptrace(request, tid, address, data)
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return value


def attempt(request: int, tid: int, address: int = 0, data: int = 0) -> bool:
    """Make one ptrace call on a thread that may be dying; return False where it is (ESRCH)."""
    try:
        call(request, tid, address, data)
    except ProcessLookupError:
        return False
    return True


def seize(tid: int, *, exits: bool = False) -> None:
    """Attach to a thread without stopping it (PTRACE_SEIZE).

    Raises OSError: EPERM where the kernel forbids it or another traces it, ESRCH where it is gone.
    """
    if _waiting_ptrace(PTRACE_SEIZE, tid, 0, options(exits=exits)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def options(*, exits: bool, bound: bool = False) -> int:
    """Return the options of a tracee; ``exits``: it stops when it exits, ``bound``: for a filter, and dies with us."""
    return OPTIONS | (O_TRACEEXIT if exits else 0) | (O_TRACESECCOMP | O_EXITKILL if bound else 0)


def restart(request: int, tid: int, signal: int) -> bool:
    """Restart a stopped thread; return False where it is dying.

    EIO says that the signal number is none, which the callers make sure of; it is raised.
    """
    if _quick(request, tid, 0, signal) == 0:
        return True
    return attempt(request, tid, 0, signal)


def syscall_info(tid: int) -> tuple[int, ...] | None:
    """Return the fields of PTRACE_GET_SYSCALL_INFO (see ``SYSCALL_INFO``), None where the thread is dying.

    At an exit ``nr`` is the raw unsigned result and the lowest byte of the first argument tells whether it failed.
    """
    if _quick(PTRACE_GET_SYSCALL_INFO, tid, SYSCALL_INFO_SIZE, _info_pointer) <= 0:
        return None
    return _unpack_info(_info)


def event_message(tid: int) -> int | None:
    """Return PTRACE_GETEVENTMSG, None where the thread is dying."""
    value = ctypes.c_ulong()
    return value.value if attempt(PTRACE_GETEVENTMSG, tid, 0, ctypes.addressof(value)) else None


def signal_info(tid: int) -> bytes | None:
    """Return the raw siginfo_t of a signal-delivery-stop, None where the thread is dying or at no signal."""
    buffer = ctypes.create_string_buffer(128)
    try:
        return buffer.raw if attempt(PTRACE_GETSIGINFO, tid, 0, ctypes.addressof(buffer)) else None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def set_signal_info(tid: int, info: bytes) -> None:
    """Change the siginfo_t of a signal-delivery-stop; nothing where the thread is dying."""
    # Other bytes behind those that the kernel keeps (struct kernel_siginfo) it may refuse (copy_siginfo_from_user).
    buffer = ctypes.create_string_buffer(info[:SIGINFO_KEPT], 128)
    attempt(PTRACE_SETSIGINFO, tid, 0, ctypes.addressof(buffer))


class _PeekArguments(ctypes.Structure):
    """struct ptrace_peeksiginfo_args: where to begin, PTRACE_PEEKSIGINFO_SHARED or 0, how many."""

    _fields_ = (("offset", ctypes.c_uint64), ("flags", ctypes.c_uint32), ("count", ctypes.c_int32))


def waiting_signals(tid: int, most: int = 32) -> list[tuple[int, int]]:
    """Return si_signo and si_code of the signals that wait for a stopped thread alone, none where it is dying."""
    infos = ctypes.create_string_buffer(128 * most)
    arguments = _PeekArguments(0, 0, most)
    try:
        found = call(PTRACE_PEEKSIGINFO, tid, ctypes.addressof(arguments), ctypes.addressof(infos))
    except ProcessLookupError:
        return []
    return [_signal_and_code.unpack_from(infos, 128 * index) for index in range(found)]


_signal_and_code = Struct("<i4xi")


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def register_set(tid: int, note: int, size: int) -> bytes:
    """Return a register set by its ELF note type (PTRACE_GETREGSET), at most ``size`` bytes.

    Raises OSError: ESRCH where the thread is dying, EINVAL or ENODEV where this machine has no such set.
    """
    buffer = ctypes.create_string_buffer(size)
    vector = _Iovec(ctypes.addressof(buffer), size)
    call(PTRACE_GETREGSET, tid, note, ctypes.addressof(vector))
    return buffer.raw[: vector.length]


def set_register_set(tid: int, note: int, data: bytes) -> None:
    """Write a register set by its ELF note type (PTRACE_SETREGSET).

    Raises OSError: ESRCH where the thread is dying, EINVAL or EFAULT where the kernel does not take ``data``.
    """
    buffer = ctypes.create_string_buffer(data, len(data))
    vector = _Iovec(ctypes.addressof(buffer), len(data))
    call(PTRACE_SETREGSET, tid, note, ctypes.addressof(vector))


def peek_user(tid: int, offset: int) -> int:
    """Return a word of struct user (PTRACE_PEEKUSER; glibc returns it, and tells errors by errno alone)."""
    ctypes.set_errno(0)
    value: int = _ptrace(PTRACE_PEEKUSER, tid, offset, 0)
    number = ctypes.get_errno()
    if value == -1 and number:
        raise OSError(number, os.strerror(number))
    return value & 0xFFFF_FFFF_FFFF_FFFF
