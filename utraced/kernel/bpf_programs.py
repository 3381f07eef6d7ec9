"""The programs of a trace, as instructions: what each does at its tracepoint, in the thread that it is about.

Each begins by asking whose thread it is (``_guard``): a process that stops qualifying is taken out of the map of
processes there and then, and nothing more is ever told of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from utraced.api import call_records as records
from utraced.arch import x86_64 as arch

from .bpf_assembler import FP, R0, R1, R2, R3, R4, R6, R7, R8, R9, Program
from .bpf_captures import captures
from .bpf_filters import START, Filters
from .bpf_layout import (
    COUNTER_ENTRIES,
    COUNTER_EXITS,
    COUNTER_OTHERS,
    COUNTER_PROCESSES,
    COUNTER_UNFOLLOWED,
    MAPS,
    RECORD,
    TRACEPOINTS,
    Guard,
    Offsets,
    Settings,
)
from .bpf_scattered import strings_of
from .bpf_stacks import stack
from .bpf_writing import (
    BLOCK,
    CURRENT_TASK_BTF,
    FORCE_WAKEUP,
    KEY,
    MAP_LOOKUP,
    MAP_UPDATE,
    PID_TGID,
    PROBE_READ_KERNEL,
    PROBE_READ_KERNEL_STR,
    PROBE_READ_USER,
    RINGBUF_OUTPUT,
    TASK_PT_REGS,
    TS_COMPAT,
    UID_GID,
    VALUE,
    Of,
)

_SIGNAL_DELIVERED, _SIGNAL_IGNORED = 0, 1
"""TRACE_SIGNAL_DELIVERED, TRACE_SIGNAL_IGNORED (include/trace/events/signal.h)."""
_SI_KERNEL = 0x80
_RESULT_OF_EVENT = 16
"""Where a call's result is in the event of its exit (struct syscall_trace_exit in kernel/trace/trace.h)."""


class Programs(Filters):
    """The programs of a trace, one for each tracepoint."""

    def entry(self, of: Of = "all") -> bytes:
        """Return the program at the entry of a call: arguments ``regs, id`` (include/trace/events/syscalls.h)."""
        program = Program()
        self.sift(program, of, entering=True)
        self.begin(program, often=of != "narrow")
        self.registers(program, of)
        program.stx("u64", FP, VALUE, R1)
        program.ldx("u64", R2, R1, self.offsets.register(arch.PT_CALL_NUMBER))
        self.plan(program)
        if self.settings.failed_only:
            self.defer_entry(program)
            return self.end(program)
        self.scratch(program, found=of != "narrow")
        program.ldx("u64", R1, FP, VALUE)
        self.arguments(program)
        self.sift_entry(program)
        self._tell_entry(program)
        return self.end(program)

    def _tell_entry(self, program: Program, *, deferred: bool = False) -> None:
        """Tell a call's entry, whose arguments are in the scratch space; ``deferred``: at its return."""
        base = RECORD + records.HEAD.size - 8
        for index in range(6):
            program.ldx("u64", R2, R6, 8 * index)
            program.stx("u64", R6, base + 8 * index, R2)
        program.ldx("u64", R1, FP, VALUE)
        for place, name in enumerate((arch.PT_INSTRUCTION_POINTER, arch.PT_STACK_POINTER)):
            program.ldx("u64", R2, R1, self.offsets.register(name))
            program.stx("u64", R6, base + 48 + 8 * place, R2)
        self.head(program, records.ENTRY, since=START if deferred else None)
        program.set(R9, base + records.ENTERED.size)
        if self.settings.stacks:
            stack(program, base + records.ENTERED.size)
        captures(program, self.settings, "deferred" if deferred else "entered")
        strings_of(program, self.settings, leaving=False)
        self.send(program, COUNTER_ENTRIES)

    def exit(self, of: Of = "all") -> bytes:
        """Return the program at a call's return: arguments ``regs, ret``."""
        program = Program()
        self.sift(program, of, entering=False)
        self.begin(program, often=of != "narrow")
        program.ldx("u64", R1, R6, _RESULT_OF_EVENT if of == "call" else 8)
        program.stx("u64", FP, VALUE + 8, R1)
        self.registers(program, of)
        program.stx("u64", FP, VALUE, R1)
        program.ldx("u64", R2, R1, self.offsets.register(arch.PT_CALL_NUMBER))
        self.plan(program)
        self.scratch(program, found=of != "narrow")
        program.ldx("u64", R1, FP, VALUE)
        self.arguments(program)
        self.sift_exit(program, lambda program: self._tell_entry(program, deferred=True))
        program.ldx("u64", R1, FP, VALUE + 8)
        base = RECORD + records.HEAD.size - 8
        program.stx("u64", R6, 8 * 6, R1)
        program.stx("u64", R6, base, R1)
        self.head(program, records.EXIT)
        program.set(R9, base + records.RETURNED.size)
        captures(program, self.settings, "left")
        if not self.settings.failed_only:
            self.late(program)
        strings_of(program, self.settings, leaving=True)
        self.send(program, COUNTER_EXITS)
        return self.end(program)

    def clone(self) -> bytes:
        """Return the program where a thread is made: arguments ``parent, child``; the parent is the current one."""
        program = Program()
        self.begin(program)
        offsets = self.offsets
        program.ldx("u64", R9, R6, 8)
        program.ldx("u32", R1, R9, offsets.tgid)
        program.stx("u32", FP, BLOCK + 32, R1)
        program.ldx("u32", R2, R9, offsets.pid)
        program.stx("u32", FP, BLOCK + 36, R2)
        program.stx("u32", FP, KEY, R1)
        program.mov(R2, R7)
        program.compute("rsh", R2, value=32)
        program.jump32("eq", R1, "thread", source=R2)
        if self.settings.follow:
            program.ldx("u64", R1, R9, offsets.start_boottime)
            program.stx("u64", FP, VALUE, R1)
            program.compute("add", R1, value=1)
            program.stx("u64", FP, VALUE + 8, R1)
            self.map_call(program, MAPS.processes, MAP_UPDATE)
            program.jump("eq", R0, "followed", value=0)
            self.count(program, COUNTER_UNFOLLOWED, 1)
            program.goto("thread")
            program.label("followed")
            self.count(program, COUNTER_PROCESSES, 1)
        program.label("thread")
        # How it was asked for is known from the registers of the call alone.
        program.call(CURRENT_TASK_BTF)
        program.mov(R1, R0)
        program.call(TASK_PT_REGS)
        program.st("u64", FP, BLOCK + 40, 0)
        program.set(R8, 0)
        program.jump("eq", R0, "unknown", value=0)
        program.ldx("u64", R8, R0, offsets.register(arch.PT_CALL_NUMBER))
        program.ldx("u64", R9, R0, offsets.register(arch.PT_ARGUMENTS[0]))
        program.stx("u64", FP, BLOCK + 40, R9)
        program.jump("ne", R8, "unknown", value=arch.CLONE3)
        program.mov(R1, FP)
        program.compute("add", R1, value=BLOCK + 40)
        program.set(R2, 8)
        program.mov(R3, R9)
        program.call(PROBE_READ_USER)
        program.jump("eq", R0, "unknown", value=0)
        program.st("u64", FP, BLOCK + 40, 0)
        program.label("unknown")
        self.small(program, records.CLONE, records.CLONED.size, nr=R8)
        return self.end(program)

    def exec(self) -> bytes:
        """Return the program where a program has been replaced: arguments ``task, old_pid, bprm``."""
        program = Program()
        self.begin(program)
        if self.settings.by_call:
            self._tell_narrow(program)
        program.ldx("u64", R1, R6, 8)
        program.ldx("u64", R8, R6, 16)
        program.stx("u64", FP, VALUE, R1)
        self.move_mark(program)
        self.scratch(program)
        base = RECORD + records.HEAD.size - 8
        program.ldx("u64", R1, FP, VALUE)
        program.stx("u32", R6, base, R1)
        program.st("u32", R6, base + 4, 0)
        program.st("u64", R6, base + 8, 0)
        program.ldx("u64", R3, R8, self.offsets.filename)
        program.mov(R1, R6)
        program.compute("add", R1, value=base + records.EXECED.size + records.FRAGMENT.size)
        program.set(R2, 4096)
        program.call(PROBE_READ_KERNEL_STR)
        program.jump("sgt", R0, "named", value=0)
        program.set(R0, 1)
        program.label("named")
        program.jump("le", R0, "short", value=4096)
        program.set(R0, 4096)
        program.label("short")
        program.mov(R1, R0)
        program.compute("sub", R1, value=1)
        program.stx("u32", R6, base + 16, R1)
        program.st("u32", R6, base + 20, records.ENDED)
        program.compute("add", R1, value=7)
        program.compute("and", R1, value=0xFFF8)
        program.mov(R9, R1)
        program.compute("add", R9, value=base + records.EXECED.size + records.FRAGMENT.size)
        program.set(R8, 0)
        self.head(program, records.EXEC, abi=False)
        self.send(program, COUNTER_OTHERS)
        return self.end(program)

    def _tell_narrow(self, program: Program) -> None:
        """Wake the attacher where the new program of the thread R9 is a 32-bit one, whose calls are not seen."""
        # set_personality_ia32 in arch/x86/kernel/process_64.c
        program.ldx("u32", R1, R9, self.offsets.status)
        program.compute("and", R1, value=TS_COMPAT)
        program.jump("eq", R1, "wide program", value=0)
        program.stx("u64", FP, VALUE, R7)
        program.load_map(R1, MAPS.narrow)
        program.mov(R2, FP)
        program.compute("add", R2, value=VALUE)
        program.set(R3, 8)
        program.set(R4, FORCE_WAKEUP)
        program.call(RINGBUF_OUTPUT)
        program.label("wide program")

    def death(self) -> bytes:
        """Return the program where a thread ends: argument ``task``, the current one."""
        program = Program()
        self.begin(program, memory=False)
        self.drop_mark(program)
        offsets = self.offsets
        program.ldx("u64", R1, R6, 0)
        program.ldx("u32", R2, R1, offsets.exit_code)
        program.stx("u32", FP, BLOCK + 32, R2)
        program.ldx("u64", R2, R9, offsets.signal)
        program.ldx("u32", R2, R2, offsets.live)
        program.set(R8, 0)
        program.jump32("ne", R2, "threads", value=0)
        program.set(R8, 1)
        program.label("threads")
        program.stx("u32", FP, BLOCK + 36, R8)
        program.mov(R9, R8)
        program.set(R8, 0)
        self.small(program, records.DEATH, records.DIED.size, nr=R8)
        program.jump("eq", R9, "out", value=0)
        self.forget(program)
        return self.end(program)

    def delivered(self) -> bytes:
        """Return the program where a signal is delivered: arguments ``sig, info, ka``."""
        program = Program()
        self.begin(program)
        program.ldx("u64", R8, R6, 0)
        program.ldx("u64", R3, R6, 8)
        self._siginfo(program)
        self.small(program, records.SIGNAL, records.SIGINFO_SIZE, nr=R8)
        return self.end(program)

    def sent(self) -> bytes:
        """Return the program where a signal is made: arguments ``sig, info, task, group, result``.

        It runs in the sender: the process that is looked at is the receiver's.
        """
        program = Program()
        program.mov(R6, R1)
        program.ldx("u64", R9, R6, 16)
        program.ldx("u32", R7, R9, self.offsets.tgid)
        program.stx("u32", FP, KEY, R7)
        program.compute("lsh", R7, value=32)
        program.ldx("u32", R1, R9, self.offsets.pid)
        program.compute("or", R7, source=R1)
        self.map_call(program, MAPS.processes, MAP_LOOKUP)
        program.jump("eq", R0, "out", value=0)
        program.mov(R8, R0)
        self.plain(program)
        self.check_start(program)
        self.check(program, memory=True)
        program.ldx("u64", R8, R6, 0)
        program.ldx("u64", R3, R6, 8)
        program.ldx("u64", R9, R6, 32)
        program.set(R2, 1)
        program.jump("gt", R3, "told", source=R2)
        # SEND_SIG_NOINFO, from the sender itself, or SEND_SIG_PRIV, from the kernel.
        for place in range(0, records.SIGINFO_SIZE, 8):
            program.st("u64", FP, BLOCK + 32 + place, 0)
        program.stx("u32", FP, BLOCK + 32, R8)
        program.st("u32", FP, BLOCK + 40, _SI_KERNEL)
        # Its lower half: to the verifier the pointer itself is never zero.
        program.narrow(R3)
        program.jump("ne", R3, "known", value=0)
        program.st("u32", FP, BLOCK + 40, 0)
        program.call(PID_TGID)
        program.compute("rsh", R0, value=32)
        program.stx("u32", FP, BLOCK + 48, R0)
        program.call(UID_GID)
        program.stx("u32", FP, BLOCK + 52, R0)
        program.goto("known")
        program.label("told")
        self._siginfo(program)
        program.label("known")
        program.jump("eq", R9, "ignored", value=_SIGNAL_IGNORED)
        program.jump("ne", R9, "out", value=_SIGNAL_DELIVERED)
        self.small(program, records.SENT, records.SIGINFO_SIZE, nr=R8)
        program.goto("out")
        program.label("ignored")
        self.small(program, records.IGNORED, records.SIGINFO_SIZE, nr=R8)
        return self.end(program)

    def _siginfo(self, program: Program) -> None:
        """Copy the kernel_siginfo R3 onto the stack."""
        program.mov(R1, FP)
        program.compute("add", R1, value=BLOCK + 32)
        program.set(R2, records.SIGINFO_SIZE)
        program.call(PROBE_READ_KERNEL)
        program.jump("ne", R0, "out", value=0)


class Code(NamedTuple):
    """A program, and the tracepoint it is for.  ``of``: which calls it is for, at tracepoints of calls."""

    tracepoint: str
    of: Of
    code: bytes


@lru_cache(maxsize=16)
def programs(offsets: Offsets, guard: Guard | None, settings: Settings) -> tuple[Code, ...]:
    """Return all programs of a trace, in the order in which they are to be attached; those of the last traces are kept.

    They are the same whatever their maps are, which are known by their indexes.
    """
    writer = Programs(offsets, guard, settings)
    write = {
        "sched_process_exit": writer.death,
        "sched_process_fork": writer.clone,
        "sched_process_exec": writer.exec,
        "signal_generate": writer.sent,
        "signal_deliver": writer.delivered,
    }
    found = [Code(name, "all", write[name]()) for name in TRACEPOINTS if name in write]
    for of in ("call", "narrow") if settings.by_call else ("all",):
        found += [Code("sys_exit", of, writer.exit(of)), Code("sys_enter", of, writer.entry(of))]
    return tuple(found)
