"""From a request that has been granted to a recording: which calls, whose processes, of which kernel."""

from __future__ import annotations

import errno
import logging
import os
import threading
from contextlib import suppress
from functools import lru_cache

from utraced.errors import InvalidParams, LimitExceeded, NoSuchProcess, Unsupported, UtracedError
from utraced.kernel import bpf_calls
from utraced.kernel.bpf_captures import largest
from utraced.kernel.bpf_layout import MESSAGES, Guard, Offsets, Settings, cast_of, needs, offsets_of, plan
from utraced.kernel.bpf_recording import ByCall, Recording, knows_loops
from utraced.kernel.btf import BadBtf, Btf, read_btf
from utraced.kernel.event_pool import EventPool
from utraced.kernel.proc import Process
from utraced.kernel.recorder_requests import MAX_NUMBERS, Backend, Record
from utraced.kernel.tracepoints import Tracepoints
from utraced.linux.attaching import VMLINUX
from utraced.linux.capabilities import CAP_SYS_PTRACE
from utraced.linux.identity import Identity
from utraced.linux.pidfd import pid_of
from utraced.syscalls.abi import ABIS
from utraced.syscalls.captures import NOTHING, captures_of

log = logging.getLogger("utraced")

INITIAL_PID_NAMESPACE = 0xEFFFFFFC
INITIAL_USER_NAMESPACE = 0xEFFFFFFD
"""PROC_PID_INIT_INO and PROC_USER_INIT_INO (include/linux/proc_ns.h)."""
_FEATURE = "backend.kernel"
_NS_PER_SECOND = 1_000_000_000
MOST_WITH_MESSAGES = 128
"""Calls of a trace that tells the contents of arrays of messages: the verifier takes 30 ms for that alone."""
MOST_BY_CALL = 16
"""Calls of a trace that has tracepoints of its own: of each call, two events are opened, and closed in 36 ms each."""


def check_place(backend: Backend = "kernel") -> None:
    """Raise Unsupported unless we see processes by the numbers that the kernel's programs see."""
    if os.stat("/proc/self/ns/pid").st_ino != INITIAL_PID_NAMESPACE:
        raise Unsupported(
            f"the backend {backend} does not work in a pid namespace of its own", feature=f"backend.{backend}"
        )
    if os.stat("/proc/self/ns/user").st_ino != INITIAL_USER_NAMESPACE:
        raise Unsupported(
            f"the backend {backend} does not work in a user namespace of its own", feature=f"backend.{backend}"
        )


class _Types:
    """What the programs need of the running kernel's types, looked up once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._completing = threading.Lock()
        self._found: tuple[Btf, Offsets] | None = None

    def offsets(self) -> Offsets:
        """Return what there is to know so far; raises Unsupported."""
        with self._lock:  # one thread looks, and the others have it then
            if self._found is None:
                try:
                    btf = read_btf(VMLINUX)
                except OSError as error:
                    raise Unsupported(
                        f"this kernel does not tell its types ({VMLINUX}: {error.strerror})", feature=_FEATURE
                    ) from error
                except BadBtf as error:
                    raise Unsupported(f"{VMLINUX} cannot be read: {error}", feature=_FEATURE) from error
                offsets = offsets_of(btf)
                self._found = btf, offsets._replace(loops=knows_loops(offsets))
            return self._found[1]

    def complete(self) -> None:
        """Look up what makes programs load sooner, and takes longer to find; raises Unsupported."""
        offsets = self.offsets()
        assert self._found is not None
        if offsets.cast is None and self._completing.acquire(blocking=False):  # one thread is enough
            btf = self._found[0]
            self._found = btf, offsets._replace(cast=cast_of(btf))


_types = _Types()


def kernel_types() -> Offsets:
    """Return what the programs need of the running kernel's types; raises Unsupported."""
    return _types.offsets()


def load() -> None:
    """Load what the first request would wait for."""
    with suppress(Unsupported):  # the answer to whoever asks for a recording
        kernel_types()
        captures_of(ABIS["x86_64"], 0)


def load_rest() -> None:
    """Load what later requests would wait for."""
    with suppress(Unsupported):
        _types.complete()


def guard_of(identity: Identity) -> Guard | None:
    """Return whose processes may be told of to ``identity``; None: the kernel lets him trace all."""
    if identity.capabilities & CAP_SYS_PTRACE:
        return None
    return Guard(identity.uid, identity.gid, identity.capabilities, INITIAL_USER_NAMESPACE)


class FewCalls:
    """What traces of few calls run at, so that others' calls are not looked at: tracepoints and events of them."""

    def __init__(self, tracepoints: Tracepoints, pool: EventPool) -> None:
        self._tracepoints = tracepoints
        self._pool = pool

    def of(self, request: Record) -> ByCall | None:
        """Return the tracepoints of the calls asked for, None where those are many, or one has none."""
        if request.others or not 0 < len(request.x86_64) <= MOST_BY_CALL:
            return None
        names = (ABIS["x86_64"].name_of(number) for number in request.x86_64)
        found = [self._tracepoints.of_call(name) if name else None for name in names]
        known = tuple(one for one in found if one is not None)
        return ByCall(self._pool, known) if len(known) == len(found) else None


def prepare(request: Record, identity: Identity, few: FewCalls | None = None) -> Recording:
    """Load what records for ``identity`` as he asks, still of no process: nothing of it runs yet.

    ``few`` is used where few calls are asked for.  Raises Unsupported, LimitExceeded, InvalidParams.
    """
    if request.ring_size & request.ring_size - 1:
        raise InvalidParams("the size of a ring is a power of two", member="ring_size")
    if b"\0" in request.path_prefix:
        raise InvalidParams("a path has no NUL", member="path_prefix")
    offsets = kernel_types()
    plans = _plans(request)
    numbers = sorted({*request.x86_64, *request.i386})
    sifted = tuple(numbers) if not request.others and len(numbers) <= 2 * MOST_BY_CALL else ()
    needed = needs(plans.values())
    if len(plans) > MOST_WITH_MESSAGES:
        needed = needed._replace(special=needed.special - {MESSAGES})
    settings = Settings(
        request.strings,
        request.follow,
        needed,
        few=sifted,
        stacks=request.stacks,
        failed_only=request.failed_only,
        prefix=request.path_prefix,
        loops=offsets.loops,
    )
    guard = guard_of(identity)
    by_call = few.of(request) if few is not None else None
    try:
        if by_call is not None:
            with suppress(OSError):  # as where no event can be had: all calls are looked at
                return Recording(offsets, guard, settings, plans, ring_size=request.ring_size, by_call=by_call)
        return Recording(offsets, guard, settings, plans, ring_size=request.ring_size)
    except OSError as error:
        raise _refused(error) from error
    except bpf_calls.Refused as error:
        log.error("this kernel's verifier refuses a program: %s", error)
        raise Unsupported("this kernel does not take the programs; the log says why", feature=_FEATURE) from error


class Crowded(Exception):
    """Tracepoints of single calls have as many programs as they can (BPF_TRACE_MAX_PROGS, kernel/trace/bpf_trace.c)."""


def begin(recording: Recording, pidfd: int) -> None:
    """Record the process behind ``pidfd``, which the client may trace.

    Raises NoSuchProcess, Unsupported, LimitExceeded, and Crowded, which one that looks at all calls never does.
    """
    by_call = recording.narrow is not None
    try:
        recording.attach()
    except OSError as error:
        if by_call and error.errno == errno.E2BIG:
            raise Crowded from error
        raise _refused(error) from error
    pid = pid_of(pidfd)
    recording.add(pid, _started(pid))
    if recording.narrow is not None and is_narrow(pid):
        # Looked at after it is added: of a program that is executed later the programs tell.
        recording.widen()
    if pid_of(pidfd) != pid:
        raise NoSuchProcess(f"process {pid} has ended")


def _plans(request: Record) -> dict[int, bytes]:
    """Return the plans of the calls wanted, by their places."""
    plans: dict[int, bytes] = {}
    for name, numbers, base in (("x86_64", request.x86_64, 0), ("i386", request.i386, MAX_NUMBERS)):
        for number in numbers:
            plans[base + number] = _plan(name, number, request.strings)
    if request.others:
        for base in (0, MAX_NUMBERS):
            plans[base + MAX_NUMBERS - 1] = _plan("none", 0, request.strings)
    return plans


@lru_cache(maxsize=4 * MAX_NUMBERS)
def _plan(name: str, number: int, strings: int) -> bytes:
    """Return the plan of a call; those of the last traces are kept."""
    what = captures_of(ABIS[name], number) if name in ABIS else NOTHING
    return plan(what, strings=strings, largest=largest(strings))


def _started(pid: int) -> tuple[int, int]:
    """Return between which times a process started: /proc tells it in clock ticks."""
    tick = _NS_PER_SECOND // os.sysconf("SC_CLK_TCK")
    try:
        with Process(pid) as process:
            ticks = process.stat().start_time
    except OSError as error:
        raise NoSuchProcess(f"process {pid} has ended") from error
    return ticks * tick, (ticks + 1) * tick


def is_narrow(pid: int) -> bool:
    """Tell whether a process runs a 32-bit program: its auxiliary vector is of 32-bit pairs then (proc_pid_auxv(5))."""
    try:
        with open(f"/proc/{pid}/auxv", "rb") as file:
            first = file.read(8)
    except OSError:
        return False
    return int.from_bytes(first, "little") >= 1 << 32


def _refused(error: OSError) -> UtracedError:
    if error.errno in {errno.EPERM, errno.EACCES}:
        return Unsupported(
            "the backend kernel needs the capabilities BPF and PERFMON",
            feature=_FEATURE,
            hint="Run as root, or use a daemon of the system; backend ptrace needs neither.",
        )
    if error.errno in {errno.ENOMEM, errno.E2BIG, errno.EMFILE, errno.ENFILE}:
        return LimitExceeded(f"the kernel has no room for another trace: {error.strerror}", limit="kernel_memory")
    return Unsupported(f"the kernel cannot do this: {error.strerror}", feature=_FEATURE)
