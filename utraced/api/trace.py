"""Traces: system calls of whole process trees."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import Cancelled, Gone, NoSuchObject, NoSuchProcess, PermissionDenied, Unsupported
from utraced.model import Value
from utraced.rpc.method import Method, TargetMethod

from .engine import CallFilter, CallSet

Backend = Literal["auto", "kernel", "perf", "ptrace", "seccomp"]
Deliver = Literal["events", "raw"]
TraceId = Annotated[int, Meta(ge=1)]


class Started(Value, frozen=True):
    """The new trace.

    ``trace``: its id.  ``backend``: what records it.  ``reason``: why nothing faster does, and what that costs the
    process.  ``deliver``: what is told.
    """

    trace: int
    backend: str
    reason: str | None = None
    deliver: Deliver = "events"


class Start(TargetMethod[Started], frozen=True):
    """Trace the system calls of a process, all its threads, and with ``follow`` its descendants.

    ``from_exec``: reply when the process is caught, report nothing before its execve.  ``syscalls``: names, numbers and
    classes, or a filter.  ``strings``: bytes shown of each string or buffer.  ``failed_only``: only calls that fail.
    ``path_prefix``: only calls of which a path among the arguments begins so, as the program has written it; of at most
    256 bytes.  ``overflow``: what happens when the client reads too slowly: ``drop`` observations and count them, or
    ``block`` the target.  ``entries``: a call that lasts, or that another thread's event overtakes, is first told as
    ``syscall_entry``.  ``stacks``: with the stack of each call, by its frame pointers.  ``backend``: what records:
    ``auto`` has the kernel do it where that can be had, else ``perf``, and ptrace where neither can, where ``block`` is
    asked for, as only with ptrace nothing can be lost, or where the session has an engine on the process.  ``deliver``:
    as ``events``, or as the kernel wrote them, ``raw``; where ``auto`` chooses what writes no records, as events, which
    the answer says.

    The backend kernel stops nothing, and needs a daemon with the capabilities BPF and PERFMON.  It tells less than
    ptrace: signals that were ignored or ended the process as they were sent, no ``job_control``; the result of a call
    in which a thread was killed; of a trace of more than 128 calls the messages of ``mmsghdr``, and pages that were not
    in memory and that the call did not touch as pointers; programs' arguments up to 48, their environment up to 512
    variables, buffers of an iovec or a message up to 16, messages up to 8.  With ``block`` the processes run on until
    96 MiB wait in the daemon for the client; then they are attached, which as ever interrupts the calls that they sleep
    in, and held until it has caught up.  Who is traced by another meanwhile runs on, and what finds no room is lost.  A
    trace of at most 16 calls by name leaves the other calls of the machine alone, where the kernel has tracefs.  It
    does not tell calls that a 64-bit program makes as a 32-bit one would, and may miss the first ones of a 32-bit
    program that is executed in it.  With ``failed_only`` it tells what arguments point to as it stands when the call
    has failed; with ``path_prefix`` no calls that threads are in when the trace starts.

    The backend perf has events of tracepoints record, where the kernel takes no programs; it needs the capability
    PERFMON alone.  It tells what the backend kernel does, but nothing that arguments point to, no stacks, and of a
    signal no sender, and it takes no ``path_prefix``; of a process that lives for a moment alone, how it has ended may
    be missing, and of one that ``clone3`` has made, that it was with vfork.  A process falls silent when it executes a
    program with privileges, whoever traces it, and for those who may not trace all also when it enters a call that
    might make it another's.  ``block`` holds as with the backend kernel, but what comes faster than it can be made
    records of, which is slower here, is lost.

    The backend seccomp stops only the calls that are selected, by a filter in the traced program and all its children
    (``SECCOMP_RET_TRACE`` in seccomp(2)), and tells the same as ptrace, but calls that a filter of the program's own
    answers.  It is used only where it is asked for, and for a command from its execve on: with ``from_exec`` and
    ``follow``, of a process with one thread, at its next system call.  The filter can never be removed, and without a
    tracer its calls would fail: so the processes stay attached when the trace, or the session, has ended, which keeps
    other tracers (gdb) off, and the kernel kills them when the daemon ends; a private worker of a client's stays for
    them.  Unless they had
    CAP_SYS_ADMIN, no execve of theirs gains privileges any more (``no_new_privs`` in prctl(2)).  The answer's
    ``reason`` says which of that holds.

    Stacks are of up to 127 addresses.  A function without a frame pointer, as most of a C library's, hides its caller,
    and in code that uses the register otherwise a stack ends early.
    """

    method = "trace.start"
    creates = True
    access = "changes"
    errors = (NoSuchProcess, PermissionDenied, Unsupported, Cancelled)

    follow: bool = False
    from_exec: bool = False
    syscalls: CallSet | CallFilter | None = None
    strings: Annotated[int, Meta(ge=0, le=65_536)] = 32
    failed_only: bool = False
    stacks: bool = False
    backend: Backend = "auto"
    overflow: Literal["drop", "block"] = "drop"
    deliver: Deliver = "events"
    entries: bool = False
    path_prefix: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class Totals(Value, frozen=True):
    """How many system calls the trace told of, ``delivered``, and how many were ``lost``."""

    delivered: int
    lost: int


class Stop(Method[Totals], frozen=True):
    """End a trace; its last events, ``detached`` among them, precede the reply.  ``trace``: of this session."""

    method = "trace.stop"
    follows = True
    access = "changes"
    errors = (NoSuchObject, Gone)

    trace: TraceId
