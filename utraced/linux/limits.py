"""What this process may have: open files, locked memory (getrlimit(2))."""

from __future__ import annotations

import contextlib
import resource

from utraced.linux.capabilities import CAP_IPC_LOCK, permitted


def raise_open_files() -> int:
    """Raise this process's limit of open files to the hard limit; return what the soft one was.

    A program started by us must be given that back: select(2) of many fails above 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Refused where the system's own limit (fs.nr_open) has been lowered below the hard limit since.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def raise_locked_memory() -> bool:
    """Lift this process's limit of locked memory, as far as it may: without CAP_SYS_RESOURCE, to the hard limit.

    Return whether there is none any more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in (resource.RLIM_INFINITY, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            break
    return _unlimited()


def locked_memory_limited() -> bool:
    """Tell whether the kernel limits what memory we lock (perf_mmap, kernel/events/core.c)."""
    return not _unlimited() and not permitted() & CAP_IPC_LOCK


def _unlimited() -> bool:
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
