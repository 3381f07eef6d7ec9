"""How a seccomp filter of a trace comes into a process: by calls that its one thread is made to make.

Where the thread enters a call next, that is taken for seccomp(2), with the filter written below its stack; the kernel
wants a thread without privileges to give up gaining any (no_new_privs), so where it says EACCES prctl(2) comes first.
Then memory is as it was, and the thread makes its own call anew: nobody is told of the first time.  A stop in between,
for a signal or an interrupt, has it all put back, and tried again at the next call.

The filter can never be removed, and without a tracer its calls fail with ENOSYS (SECCOMP_RET_TRACE in seccomp(2)).  So
the process is *bound*: it and its children stay traced, with engines or without, and end with us (PTRACE_O_EXITKILL),
from before the filter is there.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from utraced.syscalls.abi import Abi, from_audit

from .actions import ChangeCall, Complete, MakeCall, Restart, SetOptions, Wish
from .stops import AnyStop, ExitStop, SyscallStop
from .waiting import Waiter

if TYPE_CHECKING:
    from utraced.observing.trace import Trace

    from .core import Core
    from .process import Process, Tracee

SECCOMP_SET_MODE_FILTER = 1
PR_SET_NO_NEW_PRIVS = 38
"""linux/include/uapi/linux/seccomp.h, prctl.h."""
RED_ZONE = 128
"""Bytes below the stack pointer that a program may use (System V ABI, AMD64 supplement, 3.2.2)."""
INSTRUCTION_SIZE = 8
_FPROG = {8: struct.Struct("<H6xQ"), 4: struct.Struct("<H2xI")}
"""struct sock_fprog, by the bytes of a pointer: how many instructions, and where."""


class Installation(Waiter):
    """A filter, ``program``, on its way into a process: waits until it is there or cannot be.

    ``failure`` says why it cannot, ``deprived`` whether the process can gain no privileges any more on our account.
    ``wanted``: whoever asked for it still does.  ``following`` is the one whose turn is then.
    """

    __slots__ = ("_abi", "_address", "_call", "_kept", "_own", "deprived", "failure", "following", "program", "wanted")

    def __init__(self, tid: int, program: bytes) -> None:
        super().__init__((tid,))
        self.program = program
        self.failure: str | None = None
        self.deprived = False
        self.wanted = True
        self.following: Installation | None = None
        self._own: SyscallStop | None = None
        self._abi: Abi
        self._address = 0
        self._kept = b""
        self._call = ""

    def takes(self, core: Core, tracee: Tracee, stop: AnyStop) -> bool:
        """Take a stop of the thread; return whether that is all, and nobody else is to be told of it."""
        own = self._own
        if own is None:
            if not self.wanted:
                tracee.installation = self.following
                return tracee.installation is not None and tracee.installation.takes(core, tracee, stop)
            if type(stop) is SyscallStop and stop.entering and not stop.filtered:
                return self._begin(core, tracee, stop)
            return False
        if type(stop) is ExitStop:
            # It is killed, and makes no call any more; but others may have the same memory (vfork(2)).
            tracee.process.target.write(self._address, self._kept)
            self._own = None
            return False
        if type(stop) is not SyscallStop:
            # Between two calls of ours it was interrupted, or gets a signal.
            self._put_back(core, tracee, own)
            return False
        if not stop.entering:
            self._returned(core, tracee, own, stop.result)
        self._go_on(core, tracee)
        return True

    def _begin(self, core: Core, tracee: Tracee, stop: SyscallStop) -> bool:
        """Have a call that is entered be ours; return whether it is."""
        threads = len(tracee.process.tracees)
        if threads > 1:
            self._end(core, tracee, f"process {tracee.process.pid} has {threads} threads")
            return False
        self._abi = from_audit(stop.arch, stop.nr)
        if stop.sp >> 8 * self._abi.word:
            return False  # a call of 32 bits in a program of 64, which could not name the filter: the next is taken
        if not self._write(tracee, stop.sp):
            self._end(core, tracee, f"there is no room on the stack of process {tracee.process.pid}")
            return False
        self._own = stop
        self._call = "seccomp"
        core.actions.append(SetOptions(tracee.tid, tracee.exits, bound=True))
        core.actions.append(ChangeCall(tracee.tid, self._abi.name, *self._number_and_args()))
        self._go_on(core, tracee)
        return True

    def _write(self, tracee: Tracee, sp: int) -> bool:
        """Put the filter where the stack grows to, or if nothing is there yet, over it; keep what was there."""
        fprog = _FPROG[self._abi.word]
        size = fprog.size + len(self.program)
        target = tracee.process.target
        for address in (sp - RED_ZONE - size & ~15, sp & ~15):
            if address < 0 or address + size > 1 << 8 * self._abi.word:
                continue
            kept = target.read(address, size)
            if len(kept) < size:
                continue
            count = len(self.program) // INSTRUCTION_SIZE
            if target.write(address, fprog.pack(count, address + fprog.size) + self.program):
                self._address, self._kept = address, kept
                return True
            target.write(address, kept)
        return False

    def _returned(self, core: Core, tracee: Tracee, own: SyscallStop, result: int) -> None:
        """Go by what a call of ours returned."""
        if self._call == "seccomp" and result == 0:
            bind(core, tracee.process)
            self._put_back(core, tracee, own)
            self._end(core, tracee, None)
        elif not self.wanted:
            self._put_back(core, tracee, own)
            tracee.installation = self.following
        elif self._call == "prctl" and result == 0:
            self.deprived = True
            self._next(core, tracee, own, "seccomp")
        elif self._call == "seccomp" and result == -errno.EACCES and not self.deprived:
            self._next(core, tracee, own, "prctl")
        else:
            self._put_back(core, tracee, own)
            name = errno.errorcode.get(-result, str(result))
            self._end(core, tracee, f"{self._call} fails with {name} in process {tracee.process.pid}")

    def _next(self, core: Core, tracee: Tracee, own: SyscallStop, call: str) -> None:
        self._call = call
        number, args = self._number_and_args()
        core.actions.append(MakeCall(tracee.tid, self._abi.name, number, own.pc, args))

    def _number_and_args(self) -> tuple[int, tuple[int, ...]]:
        number = self._abi.numbers[self._call]
        if self._call == "prctl":
            return number, (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return number, (SECCOMP_SET_MODE_FILTER, 0, self._address)

    def _put_back(self, core: Core, tracee: Tracee, own: SyscallStop) -> None:
        """Have the thread be about to make its own call, with all as it was.

        One that is killed meanwhile has no more need of it.
        """
        tracee.process.target.write(self._address, self._kept)
        core.actions.append(MakeCall(tracee.tid, self._abi.name, own.nr, own.pc, own.args))
        if not tracee.process.bound:
            core.actions.append(SetOptions(tracee.tid, tracee.exits))
        self._own = None

    def _go_on(self, core: Core, tracee: Tracee) -> None:
        """Restart the thread, whoever would hold it: it stops again at a call before its program goes on."""
        tracee.stop = None
        tracee.request = Wish.SYSCALL
        core.actions.append(Restart(tracee.tid, Wish.SYSCALL))

    def _end(self, core: Core, tracee: Tracee, failure: str | None) -> None:
        """Be over, with the filter there or for a ``failure``."""
        tracee.installation = self.following
        self.failure = failure
        self.outstanding.clear()
        core.actions.append(Complete(self))

    def lost(self, core: Core, tracee: Tracee) -> None:
        """The thread is gone, killed while it had a call to make for us or before, or is let go."""
        self._end(core, tracee, f"process {tracee.process.pid} has ended")


def install(process: Process, program: bytes) -> Installation:
    """Have a thread of a traced process, which is to be its only one, take a filter at its next call."""
    tracee = next(iter(process.tracees.values()))
    installation = Installation(tracee.tid, program)
    last = tracee.installation
    if last is None:
        tracee.installation = installation
        return installation
    while last.following is not None:
        last = last.following
    last.following = installation
    return installation


def bind(core: Core, process: Process) -> None:
    """Note that a process has one more filter: from now on it stays traced."""
    core.filters += 1
    process.filters += 1
    process.refresh()
    for tracee in process.tracees.values():
        tracee.leaving = False  # whoever asked for it may have left meanwhile


def begins(core: Core, trace: Trace) -> None:
    """A trace has seen the execve that it waited for: from now on its filter's stops are enough."""
    if trace.filtered:
        for process in core.processes.values():
            process.refresh()
