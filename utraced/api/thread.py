"""Threads: stopping, resuming, signalling."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import Cancelled, Contended, Gone, NoSuchObject, NoSuchProcess, NotHeld, PermissionDenied, TimedOut
from utraced.model import Empty, Hex, Holder, Milliseconds, Pid, ThreadStatus, Value
from utraced.rpc.method import Method, TargetMethod

from .engine import CallName, EngineId

SignalName = Annotated[str, Meta(min_length=1, max_length=16)] | Annotated[int, Meta(ge=1, le=64)]
Action = Literal["run", "syscall", "block_step", "step"]


class Stopped(Value, frozen=True):
    """The threads asked for: ``threads``, as they stand."""

    threads: tuple[ThreadStatus, ...]


class Stop(Method[Stopped], frozen=True):
    """Hold all threads of an engine's process, or ``tid`` alone.

    ``engine``: of this session.  ``tid``: this thread alone.  ``wait``: reply when each is held, or pending because it
    is in uninterruptible sleep; else at once, and ``stop`` events tell.  ``timeout_ms``: how long to wait, in
    milliseconds; absent, for ever.

    A thread is stopped as by a signal without a handler (PTRACE_INTERRUPT): a blocking call that it is in is made
    again when it goes on, with the time that is left.  A few calls Linux does not make again, they fail with EINTR
    (signal(7), "Interruption of system calls and library functions by stop signals"): epoll_wait, epoll_pwait, semop,
    semtimedop, sigtimedwait, sigwaitinfo, io_getevents, and those on sockets that have SO_RCVTIMEO or SO_SNDTIMEO set.
    """

    method = "thread.stop"
    access = "changes"
    errors = (NoSuchObject, Gone, NoSuchProcess, Cancelled, TimedOut)

    engine: EngineId
    tid: Pid | None = None
    wait: bool = True
    timeout_ms: Milliseconds | None = None


class SignalChange(Value, frozen=True, forbid_unknown_fields=True):
    """What becomes of the signal at which the thread is held.

    ``deliver``: false drops it.  ``number``: this signal is delivered instead; it comes from the tracer, unless
    ``info`` says otherwise: the siginfo_t that a handler gets (sigaction(2)), of which si_signo is set to the number.
    """

    deliver: bool = True
    number: SignalName | None = None
    info: Annotated[bytes, Meta(min_length=16, max_length=128)] | None = None


Result = (
    Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    | Annotated[str, Meta(pattern="^(0x[0-9a-fA-F]{1,16}|E[A-Z0-9]{1,23})$")]
)
"""What a call returns: a signed number, a 64-bit word as ``"0x7f00"``, or an errno as ``"EPERM"``."""


class CallChange(Value, frozen=True, forbid_unknown_fields=True, rename={"result": "return"}):
    """What becomes of the system call at whose entry or return the thread is held.

    ``abort``: it is not made, and fails with ENOSYS unless ``return`` says otherwise.  ``nr``: this call is made
    instead, by name or by number as its caller's architecture has it.  ``args``: its first arguments; null leaves one
    as it is.  ``return``: what it returns, a signed number, a word as ``"0x7f00"`` or an errno as ``"EPERM"``; chosen
    at the entry, the call is made unless aborted, and its result replaced.  A seccomp filter sees the changed call; of
    an aborted one it sees getpid.
    """

    abort: bool = False
    nr: CallName | None = None
    args: Annotated[tuple[Hex | None, ...], Meta(max_length=6)] = ()
    result: Result | None = None


class Running(Value, frozen=True):
    """Whether it goes on.  ``running``: the thread, or all, now run.  ``holders``: who else still holds them."""

    running: bool
    holders: tuple[Holder, ...] = ()


class Resume(Method[Running], frozen=True):
    """Let go of a held thread, or of all that this engine holds.

    ``engine``: of this session.  ``tid``: this thread alone.  ``action``: ``run``; until the next ``syscall`` stop;
    ``block_step`` until the next branch; ``step`` one instruction.  The last three hold the thread again where they
    end.  While others are told system calls, a step over a call ends where it returns, and a block is gone through step
    by step.  ``signal`` applies at a signal stop, ``syscall`` at the entry or return of a system call; absent, either
    goes on as it is.
    """

    method = "thread.resume"
    access = "changes"
    errors = (NoSuchObject, Gone, NotHeld, Contended, NoSuchProcess)

    engine: EngineId
    tid: Pid | None = None
    action: Action = "run"
    signal: SignalChange | None = None
    syscall: CallChange | None = None


class Signal(TargetMethod[Empty], frozen=True):
    """Send a signal to a process (kill(2)), or to one of its threads (tgkill(2)).

    ``signal``: its name (``"SIGUSR1"``, ``"SIGRT_3"``) or number.  ``tid``: the thread; absent, any that does not block
    it takes it.
    """

    method = "thread.signal"
    access = "changes"
    errors = (NoSuchProcess, PermissionDenied)

    signal: SignalName
    tid: Pid | None = None
