"""Asking the kernel whether somebody may trace a process, by trying it as him.

A child becomes him in every respect and reads one byte of the process with process_vm_readv(2): uids, gids,
capabilities, dumpability, Yama and security modules in one question (PTRACE_MODE_ATTACH_REALCREDS, ptrace(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import warnings
from contextlib import suppress
from signal import SIGKILL

from utraced.errors import LimitExceeded, NoSuchProcess, PermissionDenied, TimedOut, UtracedError
from utraced.linux.identity import Identity, assume

PATIENCE = 2.0
"""Seconds: its own user can stop the child."""
_ALLOWED = 0
_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Question:
    """A child that asks about process ``pid`` as ``identity``; wait until ``fileno()`` can be read, then ``answer``.

    Raises LimitExceeded where no child can be made.
    """

    def __init__(self, identity: Identity, pid: int) -> None:
        self._target = pid
        try:
            with warnings.catch_warnings():
                # Of threads, which load programs: the child calls nothing that one of them may have locked.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._child = os.fork()
        except OSError as error:
            raise LimitExceeded(f"no process can be made: {error.strerror}", limit="processes") from error
        if self._child == 0:
            status = errno.EPERM
            try:
                status = _ask(identity, pid)
            finally:
                os._exit(status)
        self._pidfd = os.pidfd_open(self._child)

    def fileno(self) -> int:
        """Return what becomes readable with the answer."""
        return self._pidfd

    def answer(self) -> UtracedError | None:
        """Return why not, None where he may; waits for ``PATIENCE`` at most."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        in_time = bool(poll.poll(PATIENCE * 1000))
        if not in_time:
            with suppress(ProcessLookupError):
                os.kill(self._child, SIGKILL)
        os.close(self._pidfd)
        _, status = os.waitpid(self._child, 0)
        if not in_time:
            return TimedOut(f"asking the kernel about process {self._target} took too long", hint="Ask again.")
        code = os.waitstatus_to_exitcode(status)
        if code == _ALLOWED:
            return None
        if code == errno.ESRCH:
            return NoSuchProcess(f"process {self._target} has ended")
        return PermissionDenied(
            f"the kernel does not let you trace process {self._target}",
            reason="not_owner",
            hint="It must run as you, with your group, without capabilities, and be dumpable.",
        )


def _ask(identity: Identity, pid: int) -> int:
    """Be somebody else, and try; return 0, or the errno."""
    assume(identity)
    byte = ctypes.create_string_buffer(1)
    local = _Iovec(ctypes.addressof(byte), 1)
    # The lowest page is never mapped: the kernel refuses before it looks, or says EFAULT.
    remote = _Iovec(None, 1)
    if _libc.process_vm_readv(ctypes.c_int(pid), ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) >= 0:
        return _ALLOWED
    number = ctypes.get_errno()
    return _ALLOWED if number == errno.EFAULT else number
