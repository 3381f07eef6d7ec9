"""The one place where the errno of a call on a process becomes an error of the protocol."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from utraced.errors import (
    BadAddress,
    InternalError,
    LimitExceeded,
    NoSuchProcess,
    PermissionDenied,
    TimedOut,
    Unsupported,
    UtracedError,
)
from utraced.model import hex_text

WhyDenied = Callable[[int], UtracedError]
"""Takes a pid and returns the best reading of why the kernel refused us."""

_LIMITS = {
    errno.EMFILE: ("open_files", "Close descriptors, or raise the daemon's LimitNOFILE."),
    errno.ENFILE: ("system_open_files", "The whole system has too many files open."),
    errno.ENOMEM: ("memory", "The system, or the daemon's control group, is out of memory."),
    errno.ENOSPC: ("kernel_resources", "Remove watchpoints, probes or traces that are no longer needed."),
    errno.EAGAIN: ("kernel_resources", "Ask again in a moment."),
}


def error_of(  # noqa: PLR0913 - all by name
    error: OSError,
    *,
    pid: int | None = None,
    address: int | None = None,
    done: int | None = None,
    feature: str | None = None,
    why_denied: WhyDenied | None = None,
) -> UtracedError:
    """Return the error a client is told when a call on process ``pid`` failed with ``error``.

    ``address`` and ``done`` (bytes transferred before it) say where memory could not be accessed, ``feature`` what the
    call is needed for, ``why_denied`` finds the reason of a refusal.  What only a bug of ours can cause is an
    InternalError.
    """
    number = error.errno or 0
    who = "the process" if pid is None else f"process {pid}"
    text = os.strerror(number)
    match number:
        case errno.ESRCH | errno.ENOENT:
            return NoSuchProcess(f"{who} does not exist")
        case errno.EPERM | errno.EACCES:
            return refused(who) if pid is None or why_denied is None else why_denied(pid)
        case errno.EIO | errno.EFAULT if address is not None:
            return BadAddress(f"no access to memory at {hex_text(address)}", address=hex_text(address), done=done)
        case errno.ENOSYS | errno.EOPNOTSUPP | errno.ENODEV:
            return Unsupported(f"the kernel cannot do this: {text}", feature=feature)
        case errno.ETIMEDOUT:
            return TimedOut(f"{who}: {text}")
        case _ if number in _LIMITS:
            limit, hint = _LIMITS[number]
            return LimitExceeded(f"{who}: {text}", hint=hint, limit=limit)
        case _:
            return InternalError(f"{who}: unexpected {errno.errorcode.get(number, str(number))}: {text}")


def refused(who: str) -> PermissionDenied:
    """Return the error for a refusal whose reason is not known: a security module, or a mount option of /proc."""
    return PermissionDenied(
        f"the kernel refuses access to {who}",
        reason="policy",
        hint="A security module (AppArmor, SELinux), seccomp or the hidepid option of /proc may be the cause.",
    )


@contextmanager
def errors_of(pid: int, *, why_denied: WhyDenied | None = None) -> Iterator[None]:
    """Raise the protocol's errors for the OSErrors of the calls on process ``pid`` made inside."""
    try:
        yield
    except OSError as error:
        raise error_of(error, pid=pid, why_denied=why_denied) from error
