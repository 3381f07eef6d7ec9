"""Why the kernel refused us a process: the first of its ``obstacles``, or ``policy`` where none is to be seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from utraced.errors import NoSuchProcess, UtracedError
from utraced.kernel.obstacles import obstacles
from utraced.kernel.proc import Process
from utraced.linux.errno_errors import refused


def why_denied(pid: int) -> UtracedError:
    """Return the best reading of why the kernel refuses us process ``pid``: a PermissionDenied, or that it has ended.

    An unreadable /proc/PID (hidepid, proc(5)) leaves only ``policy``.
    """
    try:
        with Process(pid) as process, Process(os.getpid()) as own:
            first = next(obstacles(process, own), None)
    except NoSuchProcess as error:
        return error
    except PermissionError:
        return refused(f"process {pid}")
    return refused(f"process {pid}") if first is None else first.error


@contextmanager
def explained(pid: int) -> Iterator[None]:
    """Raise what ``why_denied`` finds for a PermissionError of the calls on process ``pid`` made inside."""
    try:
        yield
    except PermissionError as error:
        raise why_denied(pid) from error
