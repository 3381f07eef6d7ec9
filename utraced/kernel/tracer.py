"""The tracer: collects stops in fair rounds, gives them to the core, and carries out what it says."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from utraced.api.events import Captured
from utraced.errors import LimitExceeded, NoSuchProcess
from utraced.tracing import control, lifecycle
from utraced.tracing.actions import (
    AbortCall,
    AwaitReap,
    Capture,
    CaptureStack,
    ChangeCall,
    Complete,
    Detach,
    Forget,
    Interrupt,
    Listen,
    MakeCall,
    Restart,
    Retire,
    SetOptions,
    SetResult,
    SetSignal,
    Tell,
)
from utraced.tracing.core import PID_MAX_LIMIT, Core
from utraced.tracing.engine import Owner
from utraced.tracing.orphans import Origin
from utraced.tracing.process import Process
from utraced.tracing.waiting import Waiter

from . import calls, ptrace, registers, stacks, stepping
from .classify import CALL_STATUSES, classify, syscall_stop
from .denied import why_denied
from .memory import TargetMemory
from .proc import LOOK, asked_again
from .reaper import Reaper
from .reaping import Reaping

WALL = 0x4000_0000
TRIES = 3
LOOKS = 20
"""How often a process is looked at again that has threads, of which none can be seized."""
READY = os.WNOHANG | WALL
SECCOMP_MODE_FILTER = "2"
"""As /proc/PID/status tells it (linux/include/uapi/linux/seccomp.h)."""


class Tracer:
    """All that this process traces; every method must be called from the thread that attaches (ptrace(2)).

    ``completed`` is called with each waiter whose wait is over.  ``most``: see ``Core``.
    """

    def __init__(self, completed: Callable[[Waiter], None], *, most: int = PID_MAX_LIMIT) -> None:
        self.core = Core(self._open, most=most)
        self.reaping = Reaping()
        self._completed = completed
        self._memories: dict[int, TargetMemory] = {}
        self._reaped: list[tuple[int, int]] = []
        self._performers: dict[type, Callable[[Any], object]] = {
            Restart: stepping.restart,
            Listen: lambda action: ptrace.attempt(ptrace.PTRACE_LISTEN, action.tid),
            Interrupt: lambda action: ptrace.attempt(ptrace.PTRACE_INTERRUPT, action.tid),
            SetOptions: lambda action: ptrace.attempt(
                ptrace.PTRACE_SETOPTIONS, action.tid, 0, ptrace.options(exits=action.exits, bound=action.bound)
            ),
            SetSignal: lambda action: ptrace.set_signal_info(action.tid, action.info),
            ChangeCall: lambda action: calls.change(action.tid, action.abi, action.nr, action.args),
            AbortCall: lambda action: calls.abort(action.tid, action.abi, action.result),
            MakeCall: lambda action: calls.make(action.tid, action.abi, action.nr, action.pc, action.args),
            SetResult: lambda action: calls.set_result(action.tid, action.result),
            Detach: self._detach,
            Capture: _capture,
            CaptureStack: stacks.capture,
            AwaitReap: self._await_reap,
            Retire: lambda action: action.engine.owner.retire(action.engine),
            Complete: lambda action: self._completed(action.waiter),
            Forget: self._forget,
        }

    def round(self) -> int:
        """Collect every stop that is ready, then act on each once; return how many there were.

        Collecting first is what is fair: the kernel's list is served from its head, so acting at once would serve the
        first tracee again and again.
        """
        if self._reaped:
            reaped, self._reaped = self._reaped, []
            for tid, status in reaped:
                self._act(tid, status)
        stops: dict[int, int] = {}
        try:
            tid, status = os.waitpid(-1, READY)
            if tid == 0:
                return 0
            if len(self.core.tracees) == 1:  # nobody to be fair to
                self._act(tid, status)
                return 1
            stops[tid] = status
            while True:
                tid, status = os.waitpid(-1, READY)
                if tid == 0:
                    break
                # A tid can come twice: a leader's stop, then the exec that took the tid over.  Only the last is true.
                stops.pop(tid, None)
                stops[tid] = status
        except ChildProcessError:
            # The last of our tracees may just have told its end.
            pass
        for tid, status in stops.items():
            self._act(tid, status)
        return len(stops)

    def _act(self, tid: int, status: int) -> None:
        """Classify, decide, and carry out."""
        core = self.core
        if status in CALL_STATUSES:
            stop = syscall_stop(tid)
            wish = core.handle_syscall(stop) if stop is not None else None
            if core.actions:
                self.perform()
            if wish is not None:
                ptrace.restart(stepping.REQUESTS[wish], tid, 0)
            return
        other = classify(tid, status)
        if other is None:
            return
        core.handle(other)
        if tid in core.orphans.stops:
            self._trace_back(tid)
        self.perform()

    def perform(self) -> None:
        """Carry out what the core has gathered."""
        core = self.core
        actions, core.actions = core.actions, []
        performers = self._performers
        for action in actions:
            if type(action) is Tell:
                action.owner.tell(action.event)
            else:
                performers[type(action)](action)

    def attach(self, pid: int, start_time: int | None = None) -> Process:
        """Return the process ``pid`` with all its threads attached, those born meanwhile too.

        With ``start_time`` it is the one that started then, or none.  They run on until an engine wants something else.
        Raises NoSuchProcess, and PermissionDenied and LimitExceeded, after which no thread is left attached.
        """
        process = self.core.processes.get(pid)
        if process is not None and (process.engines or process.bound):
            return process  # its new threads are attached by the kernel
        # Threads of a session before may have told that they leave: one that is stopped at its exit must be let go
        # now, as PTRACE_SEIZE may wait for an exec that waits for it (see ``reaper``).
        # One round has them all; until there is none would be for ever beside others that stop all the time.
        self.round()
        process = self.core.processes.get(pid)
        if process is not None:
            control.forget_strangers(self.core, process, lambda tid: _state(pid, tid)[1] == os.getpid())
            self.perform()
            process = self.core.processes.get(pid)
        if process is None:
            process = Process(pid, self._open(pid))
        try:
            self._seize_all(process)
            # From now on nobody else gets its pid; somebody may have got it until then.
            if start_time is not None and process.target.start_time() != start_time:
                raise NoSuchProcess(f"process {pid} has ended, and its pid belongs to another", pid=pid)
        except BaseException:
            if not process.engines:
                for tracee in list(process.tracees.values()):
                    control.leave(self.core, tracee)
            if not process.tracees:
                self._forget(Forget(pid))
            self.perform()
            raise
        self.core.processes[pid] = process
        self.perform()  # a thread that had stopped before goes on; the engine that is to come interrupts it again
        return process

    def _seize_all(self, process: Process) -> None:
        """Seize every thread; look again until there is no new one."""
        pid = process.pid
        seen: set[int] = set()
        reaper = Reaper()
        looks = LOOKS
        try:
            while new := self._new_threads(process, seen):
                self._check_room(pid, len(new))
                for tid in new:
                    seen.add(tid)
                    if len(new) > 1 or process.tracees:
                        reaper.start()
                    if tid in self.core.orphans.stops or self._seize(pid, tid):
                        control.adopt_thread(self.core, process, tid)
                if self._execed_meanwhile(process, reaper):
                    seen.clear()
                elif not process.tracees and len(new) > 1 and looks:
                    # Its leader was a zombie, and the others were gone: an exec is about to revive it.
                    looks -= 1
                    seen.clear()
                    time.sleep(LOOK)
        finally:
            reaper.stop()
            self._reaped += reaper.statuses
        if not process.tracees:
            raise NoSuchProcess(f"process {pid} has ended", pid=pid)

    def _new_threads(self, process: Process, seen: set[int]) -> list[int]:
        """Return the threads that have not been ``seen``, and are not ours; forget those that others have become."""
        pid = process.pid
        for tracee in list(process.tracees.values()):
            state, tracer = _state(pid, tracee.tid)
            if state not in {"", "Z", "X"} and tracer != os.getpid():
                # A leader that was ours has ended meanwhile, and an exec has given its tid to a thread that is not.
                self.core.drop(tracee)
                seen.discard(tracee.tid)
        return [
            tid for tid in asked_again(pid, lambda: _threads(pid)) if tid not in seen and tid not in process.tracees
        ]

    def _check_room(self, pid: int, new: int) -> None:
        """Raise LimitExceeded where so many more threads may not be traced."""
        traced, most = len(self.core.tracees), self.core.most
        if traced + new > most:
            raise LimitExceeded(
                f"process {pid} has {new} threads, and of {most} that may be traced {traced} are",
                limit="tracees",
                value=most,
                hint="Detach what is no longer needed; session.list shows who traces what.",
            )

    def _execed_meanwhile(self, process: Process, reaper: Reaper) -> bool:
        """Tell whether a thread has exec'd that was not yet seized, or while it was; forget the threads that are gone.

        It takes over the leader's tid.  The kernel says nothing of the leader that was ours, and a PTRACE_SEIZE that
        waited for the exec has seized a thread whose tid is no longer the one we named.
        """
        pid = process.pid
        state, tracer = _state(pid, pid)
        if state in {"", "Z", "X"}:
            return False
        ours = tracer == os.getpid()
        # A dead thread stays listed until it is reaped: one that is not listed, nor reaped before, has changed its tid.
        unlisted = process.tracees.keys() - set(_threads(pid))
        if ours and not unlisted - {tid for tid, _ in reaper.statuses}:
            return False
        for tracee in list(process.tracees.values()):
            self.core.drop(tracee)
        self.perform()
        if ours:
            ptrace.attempt(ptrace.PTRACE_INTERRUPT, pid)
            control.adopt_thread(self.core, process, pid)
        return True

    def _seize(self, pid: int, tid: int) -> bool:
        """Seize and interrupt one thread; return False where it is gone, or ours already by its parent's clone."""
        for _ in range(TRIES):
            try:
                ptrace.seize(tid)
            except ProcessLookupError:
                return False
            except PermissionError:
                # A zombie is refused too.  One that leads an exec is alive again by the time we look: so ask again.
                state, tracer = _state(pid, tid)
                if state in {"", "Z", "X"} or tracer == os.getpid():
                    return False
                continue
            ptrace.attempt(ptrace.PTRACE_INTERRUPT, tid)
            return True
        raise why_denied(pid)

    def relieve(self, owner: Owner) -> None:
        """Restart what was held back while ``owner`` read too slowly."""
        self.core.relieve(owner)
        self.perform()

    def wait_over(self, tids: set[int]) -> bool:
        """Tell whether waiting longer is no use: all these threads sleep uninterruptibly, or have ended.

        A leader that has ended before its other threads tells so only after them (wait(2) calls it a zombie); one of
        those that had been let go may have taken its tid, and is not ours.
        """
        states = (_state(tid, tid) for tid in tids)
        return all(state in {"D", "Z", "X", ""} or tracer != os.getpid() for state, tracer in states)

    def catch_up(self, process: Process) -> None:
        """Take what waits to be told of a held leader: an exec may have taken its tid over meanwhile.

        The kernel lets us act on the new image before we have heard of it, and then never tells of the exec.
        """
        leader = process.tracees.get(process.pid)
        if leader is not None and leader.stopped and len(process.tracees) > 1 and _has_told(process.pid):
            self.round()

    def look_for_reaped(self) -> None:
        """Tell of the zombies that have been reaped."""
        for process in self.reaping.take(self.core.unreaped):
            lifecycle.reaped(self.core, process, monotonic_ns())
        self.perform()

    def _await_reap(self, action: AwaitReap) -> None:
        if not self.reaping.add(action.process):
            lifecycle.reaped(self.core, action.process, monotonic_ns())
            self.perform()

    def close(self) -> None:
        """Close what is open."""
        self.reaping.close()
        for memory in self._memories.values():
            memory.close()
        self._memories.clear()

    def _open(self, pid: int) -> TargetMemory:
        memory = self._memories[pid] = TargetMemory(pid)
        return memory

    def _forget(self, action: Forget) -> None:
        memory = self._memories.pop(action.pid, None)
        if memory is not None:
            memory.close()

    def _detach(self, action: Detach) -> None:
        if action.stepping and stepping.trap_waits(action.tid):
            # It stops for that before it runs, and is let go then.
            ptrace.restart(ptrace.PTRACE_CONT, action.tid, 0)
        elif ptrace.attempt(ptrace.PTRACE_DETACH, action.tid, 0, action.signal):
            self.core.detached(action.tid)
            self.perform()

    def _trace_back(self, tid: int) -> None:
        """Find out where a thread comes from that stopped before its parent told of it."""
        core = self.core
        if tid in core.orphans.origins:
            return
        found = _origin(tid)
        siblings: list[int] = []
        if found is not None and found.tgid == tid and found.ppid not in core.processes:
            origins = {pid: _origin(pid) for pid in core.processes}
            siblings = [pid for pid, other in origins.items() if other is not None and other.ppid == found.ppid]
        lifecycle.origin(core, tid, found, siblings)


def _capture(action: Capture) -> None:
    """Put registers into an event; a thread that is dying has none any more."""
    with contextlib.suppress(NoSuchProcess):
        general = registers.general(action.tid)
        action.event.registers = Captured({name: hex(value) for name, value in general.items()})


def _has_told(tid: int) -> bool:
    """Tell whether a tracee has something to tell that was not collected."""
    try:
        return os.waitid(os.P_PID, tid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL) is not None
    except ChildProcessError:
        return False


def _threads(pid: int) -> list[int]:
    """Return the tids of a process; raises NoSuchProcess."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        raise NoSuchProcess(f"there is no process {pid}", pid=pid) from None


def _state(pid: int, tid: int) -> tuple[str, int]:
    """Return a thread's state letter and its tracer's pid, ``""`` and 0 where it is gone."""
    fields = _status(f"/proc/{pid}/task/{tid}/status")
    return fields.get("State", "")[:1], int(fields.get("TracerPid", "0"))


def _origin(tid: int) -> Origin | None:
    fields = _status(f"/proc/{tid}/status")
    if not fields:
        return None
    return Origin(int(fields["Tgid"]), int(fields["PPid"]), fields.get("Seccomp") == SECCOMP_MODE_FILTER)


def _status(path: str) -> dict[str, str]:
    """Return the fields of a status file of /proc, none where the thread is gone."""
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read().decode("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.split("\n")) if value}
