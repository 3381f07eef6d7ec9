"""Questions that only the kernel can answer for certain, asked so that nothing is changed by asking.

What the numbers in /proc say is half of it: security modules, seccomp and what a process allows us are not in them.

Where a seccomp filter is around us, only calls are made that we make anyway: others might be answered by SIGSYS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from utraced.arch.x86_64 import NR_BPF, NR_PERF_EVENT_OPEN
from utraced.kernel import ptrace
from utraced.linux import confinement

_NOWHERE = 1 << 63
"""An address at which no program has memory (linux/Documentation/arch/x86/x86_64/mm.rst)."""

_IOVEC = struct.Struct("=QQ")

_PERF_ATTR = struct.Struct("=IIQQQQQIIQ")
"""struct perf_event_attr, PERF_ATTR_SIZE_VER0 (linux/include/uapi/linux/perf_event.h)."""
_PERF_TYPE_SOFTWARE = 1
_PERF_COUNT_SW_DUMMY = 9
_PERF_DISABLED = 1 << 0
_PERF_EXCLUDE_KERNEL = 1 << 5
_PERF_EXCLUDE_HV = 1 << 6
_PERF_FLAG_FD_CLOEXEC = 8

_BPF_MAP_CREATE = 0
_BPF_MAP_TYPE_ARRAY = 2
_BPF_ATTR = struct.Struct("=5I")
"""Of union bpf_attr (linux/include/uapi/linux/bpf.h): map_type, key_size, value_size, max_entries, map_flags."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.process_vm_readv.restype = ctypes.c_ssize_t


def filtered() -> bool:
    """Tell whether seccomp is around us."""
    return confinement.read(os.getpid()).seccomp != 0


def may_access(pid: int) -> bool:
    """Tell whether the kernel lets us have what a tracer has of process ``pid``: PTRACE_MODE_ATTACH of ptrace(2).

    Asked by process_vm_readv(2) of a byte that is not there, for which it first looks whether we may; that we may is
    EFAULT then.  Where we are ``filtered``, by opening /proc/PID/mem, to which it also applies the file's mode.
    Another tracer does not matter to it.  Raises OSError, ESRCH where there is no memory to ask for: of kernel
    threads, zombies, and what is gone.
    """
    if filtered():
        return _may_open_memory(pid)
    byte = ctypes.create_string_buffer(1)
    local = ctypes.create_string_buffer(_IOVEC.pack(ctypes.addressof(byte), 1))
    remote = ctypes.create_string_buffer(_IOVEC.pack(_NOWHERE, 1))
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if _libc.process_vm_readv(pid, local, one, remote, one, none) >= 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EFAULT, errno.EPERM}:
        return number == errno.EFAULT
    raise OSError(number, os.strerror(number))


def may_ptrace() -> bool:
    """Tell whether we may call ptrace(2) at all, which a seccomp filter may forbid."""
    try:
        ptrace.call(ptrace.PTRACE_CONT, os.getpid())
    except ProcessLookupError:
        # We do not trace ourselves: who is told that was not refused the call.
        return True
    except OSError:
        return False
    return True


def may_count(*, kernel: bool) -> bool:
    """Tell whether perf_event_open(2) gives us events of ourselves, with ``kernel`` of what the kernel does for us.

    Not to be asked where we are ``filtered``.
    """
    flags = _PERF_DISABLED | _PERF_EXCLUDE_HV | (0 if kernel else _PERF_EXCLUDE_KERNEL)
    kind, config = _PERF_TYPE_SOFTWARE, _PERF_COUNT_SW_DUMMY
    attr = ctypes.create_string_buffer(_PERF_ATTR.pack(kind, _PERF_ATTR.size, config, 0, 0, 0, flags, 0, 0, 0))
    return _opened(NR_PERF_EVENT_OPEN, attr, 0, -1, -1, _PERF_FLAG_FD_CLOEXEC)


def may_make_bpf_maps() -> bool:
    """Tell whether bpf(2) lets us have a map, which programs need to hand on what they see.

    Not to be asked where we are ``filtered``.
    """
    attr = ctypes.create_string_buffer(_BPF_ATTR.pack(_BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0))
    return _opened(NR_BPF, _BPF_MAP_CREATE, attr, _BPF_ATTR.size)


def _may_open_memory(pid: int) -> bool:
    """Tell whether we may open the memory of a process."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    return True


def _opened(nr: int, *arguments: int | ctypes.Array[ctypes.c_char]) -> bool:
    """Make a system call that returns a descriptor, close that, and tell whether there was one."""
    words = (ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
    descriptor = int(_libc.syscall(ctypes.c_long(nr), *words))
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True
