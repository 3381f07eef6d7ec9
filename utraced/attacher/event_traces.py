"""From a request that has been granted to a recording by events of tracepoints, which needs no programs."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from utraced.errors import InvalidParams, LimitExceeded, NoSuchProcess, Unsupported, UtracedError
from utraced.kernel import perf_calls, perf_filters
from utraced.kernel.bpf_layout import Guard
from utraced.kernel.perf_recording import Filters, PerfRecording, Restless
from utraced.kernel.perf_samples import Tracepoints as Points
from utraced.kernel.perf_translation import Settings, Wanted
from utraced.kernel.recorder_requests import Record
from utraced.kernel.tracepoints import Tracepoints
from utraced.linux.pidfd import pid_of

_FEATURE = "backend.perf"
_NAMES = ("raw_syscalls/sys_enter", "raw_syscalls/sys_exit", "signal/signal_deliver", "sched/sched_process_exec")


def record(
    request: Record, pidfd: int, guard: Guard | None, tracepoints: Tracepoints, *, narrow: bool
) -> PerfRecording:
    """Record the process behind ``pidfd``, from now on, for who may trace it.

    ``guard``: whose processes may be told of.  ``narrow``: whether its program is a 32-bit one.
    Raises InvalidParams, NoSuchProcess, Unsupported, LimitExceeded.
    """
    if request.ring_size & request.ring_size - 1:
        raise InvalidParams("the size of a ring is a power of two", member="ring_size")
    if request.stacks or request.path_prefix:
        raise Unsupported("events of tracepoints tell neither stacks nor paths", feature=_FEATURE)
    settings = Settings(
        Wanted(frozenset(request.x86_64), frozenset(request.i386), request.others),
        follow=request.follow,
        failed_only=request.failed_only,
        owner=None if guard is None else (guard.uid, guard.gid),
    )
    points = _points(tracepoints)
    filters = Filters(
        None if request.others else _filter((*request.x86_64, *request.i386)),
        _filter(perf_calls.numbers(guarded=guard is not None)),
    )
    pid = pid_of(pidfd)
    try:
        recording = PerfRecording(pid, points, filters, settings, narrow=narrow, ring_size=request.ring_size)
    except Restless as error:
        raise Unsupported(
            f"process {pid} makes threads and children too fast to see all of them from the beginning",
            feature=_FEATURE,
            hint="Use backend ptrace.",
        ) from error
    except OSError as error:
        raise _refused(error, pid) from error
    if pid_of(pidfd) != pid:
        recording.close()
        raise NoSuchProcess(f"process {pid} has ended")
    return recording


def _points(tracepoints: Tracepoints) -> Points:
    numbers = [tracepoints.number(name) for name in _NAMES]
    found = [number for number in numbers if number is not None]
    if len(found) != len(numbers):
        raise Unsupported("this kernel has no tracefs, or not the tracepoints that are needed", feature=_FEATURE)
    return Points(*found)


def _filter(numbers: Iterable[int]) -> str:
    """Return the expression for these calls: that of a call that there is not, for none."""
    expression = perf_filters.of_numbers([*numbers] or [-1])
    if expression is None:
        raise Unsupported("so many calls, but not all, are more than a filter holds", feature=_FEATURE)
    return expression


def _refused(error: OSError, pid: int) -> UtracedError:
    if error.errno == errno.ESRCH:
        return NoSuchProcess(f"process {pid} has ended")
    # EPERM: what memory may be locked is in use (perf_mmap, kernel/events/core.c).
    if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM}:
        return LimitExceeded(
            f"there is no room for events of all threads: {error.strerror}",
            limit="events",
            hint="End traces that are no longer needed, or use backend ptrace.",
        )
    return Unsupported(f"the kernel gives no events of tracepoints: {error.strerror}", feature=_FEATURE)
