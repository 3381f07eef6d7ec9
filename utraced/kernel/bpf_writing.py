"""What all programs of a trace have in common: whose thread it is, where a record is made, and how it is sent."""

from __future__ import annotations

from typing import Literal

from utraced.api import call_records as records
from utraced.arch import x86_64 as arch
from utraced.syscalls.captures import STACK

from .bpf_assembler import FP, R0, R1, R2, R3, R4, R6, R7, R8, R9, Program
from .bpf_captures import SPACE_BEFORE, captures, forget
from .bpf_layout import (
    COUNTER_DROPPED,
    COUNTER_FAULTS,
    COUNTER_LEFT,
    COUNTER_OTHERS,
    COUNTER_PROCESSES,
    COUNTER_SILENCED,
    MAPS,
    MEMBER,
    MEMBER_SINCE,
    PLAN_WANTED,
    RECORD,
    Guard,
    Offsets,
    Settings,
)

# Helpers of the kernel (enum bpf_func_id in include/uapi/linux/bpf.h).
MAP_LOOKUP, MAP_UPDATE, MAP_DELETE = 1, 2, 3
KTIME_GET_NS = 5
SMP_PROCESSOR_ID = 8
PID_TGID, UID_GID = 14, 15
PROBE_READ_USER, PROBE_READ_KERNEL, PROBE_READ_USER_STR, PROBE_READ_KERNEL_STR = 112, 113, 114, 115
RINGBUF_OUTPUT = 130
CURRENT_TASK_BTF = 158
TASK_PT_REGS = 175

Of = Literal["all", "call", "narrow"]
"""Which calls a program runs at: all of the machine; those of 64-bit programs that it is tied to; all, for 32-bit ones.
"""

NO_WAKEUP, FORCE_WAKEUP = 1, 2
"""BPF_RB_NO_WAKEUP: the reader looks by a timer; waking it for each record costs the target several times that."""

TS_COMPAT = 2
"""A thread in a 32-bit call (arch/x86/include/asm/thread_info.h)."""
_X32_BIT = 30
_NUMBERS = 512
_OTHER = _NUMBERS - 1
"""Where in the table of plans calls stand whose number is none."""

# The stack, below FP.
KEY, CPU, VALUE, BLOCK = -4, -8, -32, -160
_SCRATCH, _SINCE = -152, -168


class Writer:
    """Writes programs for a trace; its methods add to one.

    Registers: R6 the context, then the scratch space; R7 pid and tid; R8 a value; R9 the thread.
    """

    def __init__(self, offsets: Offsets, guard: Guard | None, settings: Settings) -> None:
        self.offsets = offsets
        self.guard = guard
        self.settings = settings

    def sift(self, program: Program, of: Of, *, entering: bool) -> None:
        """End soon where a call is none of the few that are wanted: this is what bystanders pay."""
        if of == "narrow":
            program.mov(R6, R1)
            program.call(CURRENT_TASK_BTF)
            program.ldx("u32", R0, R0, self.offsets.status)
            program.compute("and", R0, value=TS_COMPAT)
            program.jump("eq", R0, "out", value=0)
            program.mov(R1, R6)
        elif of == "all" and self.settings.few:
            program.ldx("u64", R2, R1, 8 if entering else 0)
            if not entering:
                program.ldx("u64", R2, R2, self.offsets.register(arch.PT_CALL_NUMBER))
            for number in self.settings.few:
                program.jump32("eq", R2, "one of few", value=number)
            program.goto("out")
            program.label("one of few")

    def registers(self, program: Program, of: Of) -> None:
        """Set R1 to the caller's registers, of the context R6 or of the thread R9."""
        if of != "call":
            program.ldx("u64", R1, R6, 0)
            return
        program.mov(R1, R9)
        program.call(TASK_PT_REGS)
        program.jump("eq", R0, "out", value=0)
        program.mov(R1, R0)

    def begin(self, program: Program, *, memory: bool = True, often: bool = False) -> None:
        """Go on only in a process of the trace that still may be traced; R6 the context, R7 pid and tid, R9 the thread.

        ``often``: it runs at each call, and may take the longer to be verified.
        """
        program.mov(R6, R1)
        if often:
            self._find_member(program)
        else:
            program.call(PID_TGID)
            program.mov(R7, R0)
            program.compute("rsh", R0, value=32)
            program.stx("u32", FP, KEY, R0)
            self.map_call(program, MAPS.processes, MAP_LOOKUP)
            program.jump("eq", R0, "out", value=0)
            program.mov(R8, R0)
            program.call(CURRENT_TASK_BTF)
            program.mov(R9, R0)
            self.plain(program)
            self.check_start(program)
        self.check(program, memory=memory)

    def _find_member(self, program: Program) -> None:
        """Do as at other tracepoints, and keep what was found for the next call on this CPU, until a process leaves."""
        offsets = self.offsets
        program.call(CURRENT_TASK_BTF)
        program.mov(R9, R0)
        program.ldx("u32", R7, R9, offsets.tgid)
        program.stx("u32", FP, KEY, R7)
        program.compute("lsh", R7, value=32)
        program.ldx("u32", R1, R9, offsets.pid)
        program.compute("or", R7, source=R1)
        self._scratch(program, R0, failing="out")
        program.stx("u64", FP, _SCRATCH, R0)
        program.load_value(R1, MAPS.counters, COUNTER_LEFT)
        # Looked at before the map is: who leaves it meanwhile is found out by the next look.
        program.ldx("u64", R2, R1, 0)
        program.ldx("u32", R1, R0, MEMBER)
        program.ldx("u32", R3, FP, KEY)
        program.jump("ne", R1, "another", source=R3)
        program.ldx("u64", R1, R0, MEMBER_SINCE)
        program.jump("eq", R1, "member", source=R2)
        program.label("another")
        program.stx("u64", FP, _SINCE, R2)
        self.map_call(program, MAPS.processes, MAP_LOOKUP)
        program.jump("eq", R0, "out", value=0)
        program.mov(R8, R0)
        self.check_start(program)
        program.ldx("u64", R1, FP, _SCRATCH)
        program.ldx("u32", R2, FP, KEY)
        program.stx("u32", R1, MEMBER, R2)
        program.ldx("u64", R2, FP, _SINCE)
        program.stx("u64", R1, MEMBER_SINCE, R2)
        program.label("member")

    def plain(self, program: Program) -> None:
        """Make a plain pointer of the trusted one to the thread R9.

        For each pointer read by a trusted one the verifier looks through all the kernel's types, several times: 2 ms.
        By a plain one is read more slowly, as the CPU has to check it.
        """
        if self.offsets.cast is None:
            return
        program.mov(R1, R9)
        program.set(R2, self.offsets.task)
        program.call_kernel(self.offsets.cast)
        program.mov(R9, R0)

    def check_start(self, program: Program) -> None:
        """Go to ``refuse`` where the thread R9 is of a process that has not started when its value R8 says."""
        offsets = self.offsets
        program.ldx("u64", R1, R9, offsets.group_leader)
        program.ldx("u64", R1, R1, offsets.start_boottime)
        program.ldx("u64", R2, R8, 0)
        program.jump("lt", R1, "refuse", source=R2)
        program.ldx("u64", R2, R8, 8)
        program.jump("ge", R1, "refuse", source=R2)

    def check(self, program: Program, *, memory: bool) -> None:
        """Go to ``refuse`` where the thread R9 is not what the owner allows."""
        offsets, guard = self.offsets, self.guard
        if guard is None:
            return
        program.ldx("u64", R1, R9, offsets.real_cred)
        for names, number in ((offsets.uids, guard.uid), (offsets.gids, guard.gid)):
            for place in names:
                program.ldx("u32", R2, R1, place)
                program.jump32("ne", R2, "refuse", value=number)
        for half in range(2):
            forbidden = ~(guard.capabilities >> 32 * half) & 0xFFFFFFFF
            program.ldx("u32", R2, R1, offsets.cap_permitted + 4 * half)
            program.load(R3, forbidden)
            program.jump("set", R2, "refuse", source=R3)
        program.ldx("u64", R2, R1, offsets.user_ns)
        program.ldx("u32", R2, R2, offsets.inum)
        program.jump32("ne", R2, "refuse", value=guard.user_namespace)
        if memory:
            program.ldx("u64", R1, R9, offsets.mm)
            program.jump("eq", R1, "refuse", value=0)
            program.ldx("u64", R1, R1, offsets.mm_flags)
            program.compute("and", R1, value=3)
            program.jump("ne", R1, "refuse", value=1)

    def end(self, program: Program) -> bytes:
        """Finish a program: what is out, and what is refused."""
        program.label("out")
        program.set(R0, 0)
        program.exit()
        program.label("refuse")
        self.forget(program, silenced=True)
        program.set(R8, 0)
        self.small(program, records.DETACHED, 0, nr=R8)
        program.goto("out")
        return program.code()

    def forget(self, program: Program, *, silenced: bool = False) -> None:
        """Take the current process out of the map.

        Whether the last one was ``silenced`` is kept with the counters: its record may find no room.
        """
        program.mov(R1, R7)
        program.compute("rsh", R1, value=32)
        program.stx("u32", FP, KEY, R1)
        self.map_call(program, MAPS.processes, MAP_DELETE)
        name = f"forgot{len(program)}"
        program.jump("ne", R0, name, value=0)  # another thread was first
        # Before it is counted out: that is what the reader looks for.
        program.load_value(R1, MAPS.counters, COUNTER_SILENCED)
        program.st("u64", R1, 0, int(silenced))
        self.count(program, COUNTER_PROCESSES, -1)
        self.count(program, COUNTER_LEFT, 1)
        program.label(name)

    # Parts of system calls

    def plan(self, program: Program) -> None:
        """Set R8 to the plan of the call R2, or end where it is not wanted; clobbers R9, the thread."""
        offsets = self.offsets
        program.narrow(R2)
        program.stx("u32", FP, VALUE + 20, R2)
        program.set(R4, 0)
        program.ldx("u32", R3, R9, offsets.status)
        program.compute("and", R3, value=TS_COMPAT)
        program.jump("eq", R3, "wide", value=0)
        program.set(R4, 1)
        program.label("wide")
        program.stx("u32", FP, VALUE + 16, R4)
        program.jump("le", R2, "known", value=_OTHER)
        program.mov(R3, R2)
        program.compute("rsh", R3, value=_X32_BIT)
        program.jump("ne", R3, "other", value=1)
        program.st("u32", FP, VALUE + 16, 2)
        program.label("other")
        program.set(R2, _OTHER)
        program.label("known")
        program.compute("mul", R4, value=_NUMBERS)
        program.compute("add", R2, source=R4)
        program.stx("u32", FP, KEY, R2)
        self.map_call(program, MAPS.plans, MAP_LOOKUP)
        program.jump("eq", R0, "out", value=0)
        program.mov(R8, R0)
        program.ldx("u32", R1, R8, 0)
        program.compute("and", R1, value=PLAN_WANTED)
        program.jump("eq", R1, "out", value=0)

    def scratch(self, program: Program, *, found: bool = False) -> None:
        """Set R6 to this CPU's scratch space; ``found``: it was needed before."""
        if found:
            program.ldx("u64", R6, FP, _SCRATCH)
        else:
            self._scratch(program, R6, failing="out")

    @staticmethod
    def _scratch(program: Program, target: int, *, failing: str) -> None:
        program.call(SMP_PROCESSOR_ID)
        program.stx("u32", FP, CPU, R0)
        program.load_map(R1, MAPS.scratch)
        program.mov(R2, FP)
        program.compute("add", R2, value=CPU)
        program.call(MAP_LOOKUP)
        program.jump("eq", R0, failing, value=0)
        if target != R0:
            program.mov(target, R0)

    def arguments(self, program: Program) -> None:
        """Copy the six arguments from the registers R1 to where captures look for them; R1 is kept."""
        register = self.offsets.register
        program.ldx("u32", R2, FP, VALUE + 16)
        program.jump("eq", R2, "narrow", value=1)
        for index, name in enumerate(arch.PT_ARGUMENTS):
            program.ldx("u64", R2, R1, register(name))
            program.stx("u64", R6, 8 * index, R2)
        program.goto("arguments")
        program.label("narrow")
        for index, name in enumerate(arch.PT_ARGUMENTS_32):
            program.ldx("u64", R2, R1, register(name))
            program.narrow(R2)
            program.stx("u64", R6, 8 * index, R2)
        program.label("arguments")
        # Which of the three it is nothing need know that follows.
        program.ldx("u32", R2, FP, VALUE + 16)
        forget(program, R2)
        program.stx("u32", FP, VALUE + 16, R2)
        program.ldx("u64", R2, R1, register(arch.PT_STACK_POINTER))
        program.stx("u64", R6, 8 * STACK, R2)

    def head(self, program: Program, what: int, *, abi: bool = True, since: int | None = None) -> None:
        """Write the head of a record into the scratch space; of a call with its ABI and number.

        ``since``: where its time is on the stack; it is now otherwise.
        """
        place = R6
        if since is None:
            program.call(KTIME_GET_NS)
        else:
            program.ldx("u64", R0, FP, since)
        program.stx("u64", place, RECORD, R0)
        self._ids(program, place, RECORD, what)
        if abi:
            program.ldx("u32", R1, FP, VALUE + 16)
            program.stx("u8", place, RECORD + 17, R1)
            program.ldx("u32", R1, FP, VALUE + 20)
            program.stx("u32", place, RECORD + 20, R1)
        else:
            program.st("u32", place, RECORD + 20, 0)

    def _ids(self, program: Program, place: int, at: int, what: int) -> None:
        program.stx("u32", place, at + 12, R7)
        program.mov(R1, R7)
        program.compute("rsh", R1, value=32)
        program.stx("u32", place, at + 8, R1)
        program.st("u32", place, at + 16, what)
        program.load_value(R1, MAPS.counters, COUNTER_DROPPED)
        program.ldx("u32", R1, R1, 0)
        program.stx("u32", place, at + 24, R1)
        program.st("u32", place, at + 28, 0)

    def small(self, program: Program, what: int, size: int, *, nr: int) -> None:
        """Send a record whose own part of ``size`` bytes stands on the stack already; ``nr`` is a register."""
        program.stx("u32", FP, BLOCK + 20, nr)
        program.call(KTIME_GET_NS)
        program.stx("u64", FP, BLOCK, R0)
        self._ids(program, FP, BLOCK, what)
        program.load_map(R1, MAPS.ring)
        program.mov(R2, FP)
        program.compute("add", R2, value=BLOCK)
        program.set(R3, records.HEAD.size - 8 + size)
        program.set(R4, NO_WAKEUP)
        program.call(RINGBUF_OUTPUT)
        self._dropped(program, COUNTER_OTHERS)

    def send(self, program: Program, counter: int) -> None:
        """Send the record that ends at R9 in the scratch space."""
        program.mov(R3, R9)
        program.compute("sub", R3, value=RECORD)
        program.load_map(R1, MAPS.ring)
        program.mov(R2, R6)
        program.compute("add", R2, value=RECORD)
        program.jump("gt", R3, "out", value=SPACE_BEFORE)
        program.set(R4, NO_WAKEUP)
        program.call(RINGBUF_OUTPUT)
        self._dropped(program, counter)

    def _dropped(self, program: Program, counter: int) -> None:
        """Count a record that found no room."""
        name = f"sent{len(program)}"
        program.jump("eq", R0, name, value=0)
        self.count(program, COUNTER_DROPPED, 1)
        self.count(program, counter, 1)
        program.label(name)

    def count(self, program: Program, counter: int, by: int) -> None:
        """Add to a counter."""
        program.load_value(R1, MAPS.counters, counter)
        program.set(R2, by)
        program.add_atomic("u64", R1, 0, R2)

    def late(self, program: Program) -> None:
        """Copy what could not be read at the entry, because its page was not there yet: the call has brought it in."""
        program.load_value(R1, MAPS.counters, COUNTER_FAULTS)
        program.ldx("u64", R1, R1, 0)
        program.jump("eq", R1, "nothing late", value=0)
        program.stx("u32", FP, KEY, R7)
        self.map_call(program, MAPS.faulted, MAP_LOOKUP)
        program.jump("eq", R0, "nothing late", value=0)
        program.ldx("u64", R1, R0, 0)
        program.stx("u64", FP, VALUE, R1)
        self.map_call(program, MAPS.faulted, MAP_DELETE)
        captures(program, self.settings, "late")
        program.label("nothing late")

    def map_call(self, program: Program, fd: int, helper: int) -> None:
        """Call a helper on a map with the key on the stack, and for an update the value there."""
        program.load_map(R1, fd)
        program.mov(R2, FP)
        program.compute("add", R2, value=KEY)
        if helper == MAP_UPDATE:
            program.mov(R3, FP)
            program.compute("add", R3, value=VALUE)
            program.set(R4, 0)
        program.call(helper)
