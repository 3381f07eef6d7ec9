"""A kernel in a few lines: threads that run, stop, clone, exec and die as ptrace(2) and the kernel's source have it.

What of ``kernel/signal.c``, ``kernel/ptrace.c`` and ``kernel/seccomp.c`` matters to a tracer: any stop clears a pending
interrupt; a stop that SIGKILL ends is never waited for; a new thread's first stop and its parent's event come in either
order; an exec waits until the tracer has reaped all other threads, and the leader's tid passes to who made it without a
word; a leader's death is told when it is the last one; a seccomp filter (here of all calls) is inherited and stays, and
stops a call after the stop at its entry.
"""

from __future__ import annotations

import struct
from collections import deque

from utraced.model import Status
from utraced.tracing.actions import Wish
from utraced.tracing.stops import AnyStop, CloneStop, Death, ExecStop, GroupStop, SyscallStop

from . import playbook

SI_QUEUE = -1
SECCOMP, PRCTL = (playbook.X86_64.numbers[name] for name in ("seccomp", "prctl"))
EACCES = 13


class Thread:
    """One thread.

    ``calls_made`` and ``signals_taken`` number its calls, by their first argument and their result, and its signals, by
    their value.  ``state``: ``running``, ``trapped``, ``listening``, ``zombie`` (its death can be told), ``ended`` (a
    leader whose threads live on), ``gone``.  ``stop`` is what it is trapped in, ``told`` whether waitpid has told it.
    ``filtered``: it has a seccomp filter, ``bound``: PTRACE_O_TRACESECCOMP and PTRACE_O_EXITKILL; ``forced`` is the
    call that it was made to make, ``again`` whether its own comes next, ``due`` whether its filter has yet to stop the
    call that it has entered.
    """

    def __init__(self, tid: int, process: KernelProcess, *, traced: bool) -> None:
        self.tid = tid
        self.process = process
        self.traced = traced
        self.state = "running"
        self.stop: AnyStop | None = None
        self.told = False
        # JOBCTL_TRAP_STOP, JOBCTL_STOP_PENDING, JOBCTL_TRAP_NOTIFY
        self.interrupted = self.stopping = self.notified = False
        self.dying: Status | None = None
        self.exits = self.calls = False
        self.wish = Wish.RUN
        self.in_call = False
        self.signals: deque[int] = deque()
        self.calls_made = self.signals_taken = 0
        self.step_done = self.execing = self.newborn = False
        self.filtered = self.bound = self.deprived = self.due = self.again = False
        self.forced = 0
        process.threads[tid] = self

    def __repr__(self) -> str:
        return f"<{self.tid} {self.state} {type(self.stop).__name__ if self.stop else ''}>"

    @property
    def alive(self) -> bool:
        return self.state in {"running", "trapped", "listening"}


class KernelProcess:
    """A thread group; ``stopped`` is the signal of its group-stop, 0 without."""

    def __init__(self, pid: int, parent: int) -> None:
        self.pid = pid
        self.parent = parent
        self.threads: dict[int, Thread] = {}
        self.stopped = 0


class Kernel:
    """All threads, gone ones too.  ``usurped`` are tids of tracees that were taken over by who is none."""

    def __init__(self) -> None:
        self.threads: dict[int, Thread] = {}
        self.last = 9
        self.usurped: set[int] = set()

    def living(self) -> list[Thread]:
        return [thread for thread in self.threads.values() if thread.alive]

    def new_process(self, parent: int = 1, *, traced: bool = False) -> Thread:
        self.last += 1
        thread = Thread(self.last, KernelProcess(self.last, parent), traced=traced)
        self.threads[thread.tid] = thread
        return thread

    def new_thread(self, process: KernelProcess, *, traced: bool = False) -> Thread:
        self.last += 1
        thread = Thread(self.last, process, traced=traced)
        self.threads[thread.tid] = thread
        return thread

    # What the threads do

    def can_act(self, thread: Thread) -> bool:
        return thread.state == "running" and not thread.execing

    def trap(self, thread: Thread, stop: AnyStop) -> None:
        """ptrace_stop: any trap clears a pending interrupt."""
        thread.state, thread.stop, thread.told = "trapped", stop, False
        thread.interrupted = thread.newborn = False

    def pending(self, thread: Thread) -> bool:
        """Do what a thread must before it goes on: stops for the tracer, then signals; return whether it did."""
        if not thread.traced:
            return False
        if thread.forced and thread.in_call:
            self.call(thread)  # it does not wait for anything
        elif thread.interrupted or thread.stopping or thread.notified:
            thread.stopping = thread.notified = False
            signal = thread.process.stopped
            self.trap(
                thread, playbook.group_stopped(thread.tid, signal) if signal else playbook.interrupted(thread.tid)
            )
        elif thread.step_done:
            thread.step_done = False
            self.trap(thread, playbook.stepped(thread.tid))
        elif thread.signals:
            thread.signals_taken += 1
            rest = struct.pack("<IIQ", 1, 0, thread.signals_taken)
            self.trap(thread, playbook.signalled(thread.tid, thread.signals.popleft(), SI_QUEUE, rest))
        elif thread.forced or thread.again:
            self.call(thread)
        else:
            return False
        return True

    def call(self, thread: Thread) -> None:
        """Enter a system call, or return from it."""
        told = self.tells_calls(thread)
        thread.in_call = not thread.in_call
        thread.calls_made += thread.in_call and not thread.forced
        thread.again = False
        result = thread.calls_made
        if thread.forced:
            assert told, f"{thread} makes a call that is not its own, and goes on"
            if not thread.in_call:
                result = self._return_forced(thread)
        if thread.traced and told:
            entering = playbook.entering(thread.tid, "getpid", thread.calls_made)
            thread.due = thread.in_call and thread.filtered
            self.trap(thread, entering if thread.in_call else playbook.leaving(thread.tid, result))
        elif thread.in_call and thread.filtered:
            self._stop_by_filter(thread)
        elif thread.wish <= Wish.BLOCK_STEP:
            self.step(thread)
            thread.in_call = False

    def _return_forced(self, thread: Thread) -> int:
        """Do what a call of the tracer's does, and return its result; every second process has CAP_SYS_ADMIN."""
        if thread.forced == PRCTL:
            thread.deprived = True
        elif thread.deprived or thread.process.pid % 2:
            assert thread.bound, f"{thread} has a filter, and would outlive its tracer"
            thread.filtered = True
        else:
            return -EACCES
        return 0

    def _stop_by_filter(self, thread: Thread) -> None:
        thread.due = False
        assert thread.traced and thread.bound, f"{thread} is told that there is no such call"  # noqa: PT018
        self.trap(thread, playbook.filtered(thread.tid, "getpid", thread.calls_made))

    def tells_calls(self, thread: Thread) -> bool:
        """Tell whether a thread stops where a call begins or returns: one that steps does so at its beginning alone."""
        return thread.wish is Wish.SYSCALL or (thread.calls and not thread.in_call)

    def step(self, thread: Thread) -> None:
        """An instruction is done."""
        if thread.wish <= Wish.BLOCK_STEP:
            thread.step_done = thread.traced
            self.pending(thread)

    def may_only_call(self, thread: Thread) -> bool:
        """Tell whether a thread must enter a call before it can make another process, or is in one that cannot."""
        return bool(thread.forced) or ((self.tells_calls(thread) or thread.filtered) and not thread.in_call)

    def clone(self, thread: Thread, how: str) -> None:
        if self.may_only_call(thread):
            return
        if how == "thread":
            child = self.new_thread(thread.process, traced=thread.traced)
        else:  # a sibling is made with CLONE_PARENT
            parent = thread.process.parent if how == "sibling" else thread.process.pid
            child = self.new_process(parent, traced=thread.traced)
        child.in_call, child.exits = True, thread.exits
        child.filtered, child.bound, child.deprived = thread.filtered, thread.bound, thread.deprived
        if thread.traced:
            child.interrupted = child.newborn = True  # ptrace_init_task: its first stop
            told = "fork" if how == "sibling" else how
            self.trap(thread, CloneStop(thread.tid, playbook.now(), playbook.PC, child.tid, told, how == "thread"))

    def exec(self, thread: Thread) -> None:
        """Begin an exec: all other threads are killed, and waited for."""
        if self.may_only_call(thread):
            return
        thread.execing = True
        for other in list(thread.process.threads.values()):
            if other is not thread:
                self.kill(other, Status(signal="SIGKILL"))
        self.finish_exec(thread.process)

    def finish_exec(self, process: KernelProcess) -> None:
        """End an exec when all others are reaped: de_thread."""
        thread = next((thread for thread in process.threads.values() if thread.execing), None)
        leader = self.threads[process.pid]
        if thread is None or thread.dying:
            return
        if any(other not in (thread, leader) for other in process.threads.values()):
            return
        if leader is not thread:
            if leader.alive:
                return
            if leader.traced and not thread.traced:
                self.usurped.add(leader.tid)
            leader.state = "gone"
            del process.threads[thread.tid]
            del self.threads[thread.tid]
        former, thread.tid, thread.execing = thread.tid, process.pid, False
        process.threads[process.pid] = self.threads[process.pid] = thread
        if thread.traced:
            self.trap(thread, playbook.execed(process.pid, former))

    def begin_exit(self, thread: Thread, status: Status) -> None:
        """End one thread: PTRACE_EVENT_EXIT if asked for, then the end."""
        thread.dying = status
        if thread.traced and thread.exits:
            stop = playbook.exiting(thread.tid)
            stop.status = status
            self.trap(thread, stop)
        else:
            self.end(thread)

    def end(self, thread: Thread) -> None:
        thread.stop = None
        if thread.traced:
            thread.state = "zombie"
            if thread.tid == thread.process.pid and len(thread.process.threads) > 1:
                thread.state = "ended"
                self.finish_exec(thread.process)
        else:
            self.reap(thread)

    def reap(self, thread: Thread) -> None:
        """release_task: forget a dead thread; a leader that waited for it may now be told."""
        process = thread.process
        if thread.tid == process.pid and len(process.threads) > 1:
            thread.state = "ended"
            self.finish_exec(process)
            return
        thread.state = "gone"
        del process.threads[thread.tid]
        for child in self.threads.values():
            if child.process.parent == process.pid and not process.threads:
                child.process.parent = 1
        leader = self.threads[process.pid]
        if leader.state == "ended" and len(process.threads) == 1:
            if leader.traced:
                leader.state = "zombie"
            else:
                self.reap(leader)
                return
        self.finish_exec(process)

    def kill(self, thread: Thread, status: Status) -> None:
        """SIGKILL, an exec or exit_group of another thread: it leaves every stop but its last."""
        if not thread.alive:
            return
        if thread.dying:  # at PTRACE_EVENT_EXIT: a second SIGKILL ends that too
            self.end(thread)
            return
        thread.execing = False
        self.begin_exit(thread, status)

    def kill_all(self, process: KernelProcess, status: Status) -> None:
        for thread in list(process.threads.values()):
            self.kill(thread, status)

    def stop_group(self, process: KernelProcess, signal: int) -> None:
        """A stop signal takes effect: every thread has to take part."""
        if not process.stopped:
            process.stopped = signal
            for thread in process.threads.values():
                thread.stopping = thread.alive and thread.traced and not thread.dying

    def continue_group(self, process: KernelProcess) -> None:
        """SIGCONT: listening threads trap again, those in their stop do when they listen."""
        if process.stopped:
            process.stopped = 0
            for thread in process.threads.values():
                thread.stopping = False
                if thread.traced and not thread.dying and (thread.state == "listening" or self._in_group_stop(thread)):
                    thread.notified = True
                    if thread.state == "listening":
                        thread.state = "running"
                        self.pending(thread)

    def _in_group_stop(self, thread: Thread) -> bool:
        return thread.state == "trapped" and isinstance(thread.stop, GroupStop)

    # What the tracer sees and does

    def ready(self) -> list[Thread]:
        """Return the threads of which waitpid has something to tell."""
        return [
            thread
            for thread in self.threads.values()
            if thread.traced and (thread.state == "zombie" or (thread.state == "trapped" and not thread.told))
        ]

    def wait(self, thread: Thread) -> AnyStop:
        """Tell a thread's stop, at the time at which the tracer sees it, or its death."""
        if thread.state == "zombie":
            status = thread.dying
            assert status is not None
            self.reap(thread)
            return Death(thread.tid, playbook.now(), 0, status)
        assert thread.stop is not None
        thread.told = True
        thread.stop.time_ns = playbook.now()
        return thread.stop

    def seize(self, tid: int) -> bool:
        thread = self.threads.get(tid)
        if thread is None or not thread.alive or thread.dying or thread.traced:
            return False
        assert not thread.filtered, f"{thread} was let go"
        thread.traced = thread.interrupted = True
        thread.exits = False
        thread.wish = Wish.RUN
        return True

    def interrupt(self, tid: int) -> None:
        thread = self.threads.get(tid)
        if thread is None or not thread.alive or thread.dying:
            return
        assert thread.traced, f"interrupt of {tid}, which is not traced"
        thread.interrupted = True
        if thread.state == "listening":
            thread.state = "running"
            self.pending(thread)

    def restart(self, tid: int, wish: Wish, signal: int = 0, *, calls: bool = False) -> None:
        thread = self.threads.get(tid)
        if self._cannot(thread, "restart", tid) or thread is None:
            return
        assert signal != 5, f"the trap of a step is delivered to {thread}"
        thread.wish, thread.calls = wish, calls
        if calls and signal:  # it might be at a call
            thread.interrupted = True
        self._let_run(thread)
        if signal == 15:
            self.kill_all(thread.process, Status(signal="SIGTERM"))
        elif signal == 19:
            self.stop_group(thread.process, signal)

    def listen(self, tid: int) -> None:
        thread = self.threads.get(tid)
        if self._cannot(thread, "listen", tid) or thread is None:
            return
        if thread.dying:
            return  # -EIO: not in a group-stop
        assert self._in_group_stop(thread), f"{tid} listens in {thread}"
        thread.state = "listening"
        if thread.notified or thread.interrupted:
            thread.state = "running"
            self.pending(thread)

    def detach(self, tid: int, *, stepping: bool = False) -> bool:
        thread = self.threads.get(tid)
        if self._cannot(thread, "detach", tid) or thread is None:
            return False
        if stepping and thread.step_done:
            self.restart(tid, Wish.RUN)
            return False
        assert not thread.step_done, f"{thread} is let go with the trap of a step to come"
        assert not thread.filtered or thread.dying, f"{thread} is let go with its filter"
        assert not thread.forced, f"{thread} is let go in a call that is not its own"
        thread.bound = False
        thread.traced = thread.interrupted = thread.notified = thread.stopping = False
        self._let_run(thread)
        return True

    def set_options(self, tid: int, exits: bool, bound: bool) -> None:
        thread = self.threads.get(tid)
        if not self._cannot(thread, "set options of", tid) and thread is not None:
            thread.exits, thread.bound = exits, bound

    def force(self, tid: int, nr: int) -> None:
        """Change the call that a thread is stopped at the entry of."""
        self.change(tid, SyscallStop)
        thread = self.threads[tid]
        if nr in {SECCOMP, PRCTL}:
            thread.forced = nr

    def make(self, tid: int, nr: int, number: int) -> None:
        """Have a thread make a call next: one of the tracer's, or its own anew."""
        thread = self.threads.get(tid)
        if self._cannot(thread, "change", tid) or thread is None:
            return
        assert thread.forced, f"{thread} makes a call twice"
        assert not thread.in_call, f"{thread} is in a call"
        thread.forced = nr if nr in {SECCOMP, PRCTL} else 0
        if not thread.forced:
            assert number == thread.calls_made, f"{thread} makes another call than its own"
            thread.calls_made -= 1
            thread.again = True

    def change(self, tid: int, kind: type[AnyStop]) -> None:
        """Change what a thread is stopped at."""
        thread = self.threads.get(tid)
        if not self._cannot(thread, "change", tid) and thread is not None:
            assert isinstance(thread.stop, kind) or thread.dying, f"{thread} is at no {kind.__name__}"

    def _cannot(self, thread: Thread | None, what: str, tid: int) -> bool:
        """Tell whether a request fails with ESRCH, which only a dying thread may give."""
        if thread is None or not thread.alive:
            return True
        assert thread.traced, f"{what} {tid}: not traced"
        assert thread.state == "trapped", f"{what} {tid}: {thread}"
        assert thread.told or thread.dying, f"{what} {tid}, of whose stop nothing was told: {thread}"
        return False

    def _let_run(self, thread: Thread) -> None:
        thread.state, thread.stop = "running", None
        if thread.dying:
            self.end(thread)
        elif thread.due:
            self._stop_by_filter(thread)

    def will_be_told_of(self, child: Thread) -> bool:
        """Tell whether a new thread's parent will still tell of it, or of its own end or exec."""
        ready = self.ready()
        parents = [
            thread
            for thread in self.threads.values()
            if thread.process is child.process or thread.process.pid == child.process.parent
        ]
        return any(isinstance(thread.stop, CloneStop) and thread.stop.child == child.tid for thread in ready) or any(
            thread.execing or thread.dying or (isinstance(thread.stop, ExecStop) and thread in ready)
            for thread in parents
        )
