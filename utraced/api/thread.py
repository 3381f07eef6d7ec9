"""Threads: stopping, resuming, signalling."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from utraced.errors import Cancelled, Contended, Gone, NoSuchObject, NoSuchProcess, NotHeld, PermissionDenied, TimedOut
from utraced.model import Empty, Holder, Milliseconds, Pid, ThreadStatus, Value
from utraced.rpc.method import Method, TargetMethod

from .engine import EngineId

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
    """

    method = "thread.stop"
    access = "changes"
    errors = (NoSuchObject, Gone, NoSuchProcess, Cancelled, TimedOut)

    engine: EngineId
    tid: Pid | None = None
    wait: bool = True
    timeout_ms: Milliseconds | None = None


class SignalChange(Value, frozen=True, forbid_unknown_fields=True):
    """What becomes of the signal at which the thread is held: ``deliver`` false drops it, ``number`` replaces it."""

    deliver: bool = True
    number: SignalName | None = None


class Running(Value, frozen=True):
    """Whether it goes on.  ``running``: the thread, or all, now run.  ``holders``: who else still holds them."""

    running: bool
    holders: tuple[Holder, ...] = ()


class Resume(Method[Running], frozen=True):
    """Let go of a held thread, or of all that this engine holds.

    ``engine``: of this session.  ``tid``: this thread alone.  ``action``: ``run``; until the next ``syscall`` stop;
    ``block_step`` until the next branch; ``step`` one instruction.  The last three hold the thread again where they
    end.  ``signal`` applies at a signal stop; absent, the signal is delivered as it is.
    """

    method = "thread.resume"
    access = "changes"
    errors = (NoSuchObject, Gone, NotHeld, Contended, NoSuchProcess)

    engine: EngineId
    tid: Pid | None = None
    action: Action = "run"
    signal: SignalChange | None = None


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
