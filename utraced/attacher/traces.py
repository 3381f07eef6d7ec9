"""From a request that has been granted to a recording: which calls, whose processes, of which kernel."""

from __future__ import annotations

import errno
import logging
import os
from functools import cache

from utraced.errors import InvalidParams, LimitExceeded, NoSuchProcess, Unsupported, UtracedError
from utraced.kernel import bpf_calls
from utraced.kernel.bpf_captures import largest
from utraced.kernel.bpf_layout import Guard, Offsets, Settings, offsets_of, plan
from utraced.kernel.bpf_recording import Recording
from utraced.kernel.btf import BadBtf, Btf
from utraced.kernel.proc import Process
from utraced.kernel.recorder_requests import MAX_NUMBERS, Record
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


def check_place() -> None:
    """Raise Unsupported unless we see processes by the numbers that the kernel's programs see."""
    if os.stat("/proc/self/ns/pid").st_ino != INITIAL_PID_NAMESPACE:
        raise Unsupported("the backend kernel does not work in a pid namespace of its own", feature=_FEATURE)
    if os.stat("/proc/self/ns/user").st_ino != INITIAL_USER_NAMESPACE:
        raise Unsupported("the backend kernel does not work in a user namespace of its own", feature=_FEATURE)


@cache
def kernel_types() -> tuple[Btf, Offsets]:
    """Return the running kernel's types; raises Unsupported."""
    try:
        with open(VMLINUX, "rb") as file:
            btf = Btf(file.read())
    except OSError as error:
        raise Unsupported(
            f"this kernel does not tell its types ({VMLINUX}: {error.strerror})", feature=_FEATURE
        ) from error
    except BadBtf as error:
        raise Unsupported(f"{VMLINUX} cannot be read: {error}", feature=_FEATURE) from error
    return btf, offsets_of(btf)


def guard_of(identity: Identity) -> Guard | None:
    """Return whose processes may be told of to ``identity``; None: the kernel lets him trace all."""
    if identity.capabilities & CAP_SYS_PTRACE:
        return None
    return Guard(identity.uid, identity.gid, identity.capabilities, INITIAL_USER_NAMESPACE)


def record(request: Record, identity: Identity, pidfd: int) -> Recording:
    """Start the recording of the process behind ``pidfd``, which ``identity`` may trace.

    Raises NoSuchProcess, Unsupported, LimitExceeded, InvalidParams.
    """
    if request.ring_size & request.ring_size - 1:
        raise InvalidParams("the size of a ring is a power of two", member="ring_size")
    btf, offsets = kernel_types()
    settings = Settings(request.strings, request.follow)
    try:
        recording = Recording(
            btf, offsets, guard_of(identity), settings, _plans(request, settings), ring_size=request.ring_size
        )
    except OSError as error:
        raise _refused(error) from error
    except bpf_calls.Refused as error:
        log.error("this kernel's verifier refuses a program: %s", error)
        raise Unsupported("this kernel does not take the programs; the log says why", feature=_FEATURE) from error
    try:
        pid = pid_of(pidfd)
        recording.add(pid, _started(pid))
        if pid_of(pidfd) != pid:
            raise NoSuchProcess(f"process {pid} has ended")
    except BaseException:
        recording.close()
        raise
    return recording


def _plans(request: Record, settings: Settings) -> dict[int, bytes]:
    """Return the plans of the calls wanted, by their places."""
    plans: dict[int, bytes] = {}
    most = largest(settings)
    for name, numbers, base in (("x86_64", request.x86_64, 0), ("i386", request.i386, MAX_NUMBERS)):
        abi = ABIS[name]
        for number in numbers:
            plans[base + number] = plan(captures_of(abi, number), strings=request.strings, largest=most)
    if request.others:
        for base in (0, MAX_NUMBERS):
            plans[base + MAX_NUMBERS - 1] = plan(NOTHING, strings=request.strings, largest=most)
    return plans


def _started(pid: int) -> tuple[int, int]:
    """Return between which times a process started: /proc tells it in clock ticks."""
    tick = _NS_PER_SECOND // os.sysconf("SC_CLK_TCK")
    try:
        with Process(pid) as process:
            ticks = process.stat().start_time
    except OSError as error:
        raise NoSuchProcess(f"process {pid} has ended") from error
    return ticks * tick, (ticks + 1) * tick


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
