"""System calls of real threads, changed."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

import pytest

from tests.children import ended, libc
from tests.kernel.by_hand import by_hand
from tests.kernel.seized import go_on, seized
from tests.kernel.targets import target
from utraced.api import engine, events, thread
from utraced.api.engine import CallFilter
from utraced.kernel import calls, ptrace
from utraced.kernel.classify import syscall_stop
from utraced.model import Hex

MARK = 0x7A7A
"""A first argument by which getppid is found, which takes none."""
GETPPID = 110
BY_THE_OTHER_DOOR = bytes.fromhex("89f8 53 89f3 cd80 5b c3".replace(" ", ""))
"""int f(int nr, int first): mov eax, edi; push rbx; mov ebx, esi; int 0x80; pop rbx; ret."""


def call_and_say(side):
    """Call, and say what came back; -1 is replaced by the errno."""
    ctypes.set_errno(0)
    value = libc().syscall(GETPPID, MARK, 1, 2)
    side.say(b"[%d %d]" % (value, ctypes.get_errno()))
    side.wait()


def call_by_the_other_door(side):
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(BY_THE_OTHER_DOOR)
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(
        ctypes.addressof(ctypes.c_char.from_buffer(code))
    )
    side.say(b"[%d 0]" % function(64, MARK))
    side.wait()


def filtered(side):
    """Be killed for a call without a number."""
    instructions = (
        struct.pack("<HBBI", 0x20, 0, 0, 0)
        + struct.pack("<HBBI", 0x15, 0, 1, 0xFFFF_FFFF)
        + struct.pack("<HBBI", 0x06, 0, 0, 0x8000_0000)
        + struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF_0000)
    )
    kept = ctypes.create_string_buffer(instructions)
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 4, ctypes.addressof(kept)))
    libc().prctl(38, 1, 0, 0, 0)
    assert libc().prctl(22, 2, program) == 0
    call_and_say(side)


def changed(act, change, selected="getppid", kind="syscall_entry"):
    """Return what a target says of its call, changed at its entry or return, and what else is told of the call."""
    with target(act) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events=())).engine
        only = CallFilter(set=(selected,))
        hand.call(engine.SetSyscalls(engine=number, entry=only, exit=only))
        hand.call(engine.SetEvents(engine=number, events={kind: "hold"}))
        other = hand.call(engine.Attach(pid=found.pid, events=("syscall_exit",))).engine
        found.go()
        made = events.SyscallEntry if kind == "syscall_entry" else events.SyscallExit
        hand.until(lambda: [each for each in hand.told(made) if each.held], "the call")
        hand.call(thread.Resume(engine=number, syscall=change))
        hand.call(engine.SetEvents(engine=number, events=()))
        hand.until(lambda: found.said(b"]"), "what came back")
        heard = found._heard
        words = heard[heard.index(b"[") + 1 : heard.index(b"]")].split()
        told = [each for each in hand.told(events.SyscallExit) if each.engine == other and each.name == selected]
        return [*map(int, words)], told[0].result


@pytest.mark.parametrize(
    ("change", "value", "error"),
    [
        (thread.CallChange(abort=True), -1, 38),
        (thread.CallChange(abort=True, result="EPERM"), -1, 1),
        (thread.CallChange(abort=True, result=12345), 12345, 0),
        (thread.CallChange(abort=True, result=-13), -1, 13),
        (thread.CallChange(result=77), 77, 0),
        (thread.CallChange(result="0xfffffffffffffffe"), -1, 2),
        (thread.CallChange(nr="close", args=(Hex(9999),)), -1, 9),
        (thread.CallChange(nr=3, args=(Hex(9999),)), -1, 9),
        (thread.CallChange(nr=4095), -1, 38),
    ],
)
def test_a_call_is_changed_at_its_entry(change, value, error):
    said, told = changed(call_and_say, change)
    assert said == [value, error]
    assert told == (value if not error else -error)


def test_a_result_is_changed_where_the_call_returns():
    said, told = changed(call_and_say, thread.CallChange(result="EIO"), kind="syscall_exit")
    assert said == [-1, 5]
    # Who was told before the change was told what the kernel had answered.
    assert told == os.getpid()


def test_arguments_are_changed_one_by_one():
    with target(call_and_say) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events=())).engine
        hand.call(engine.SetSyscalls(engine=number, entry=CallFilter(set=("getppid",))))
        hand.call(engine.SetEvents(engine=number, events={"syscall_entry": "hold"}))
        found.go()
        hand.wait_for(events.SyscallEntry)
        calls.change(found.pid, "x86_64", GETPPID, (None, 11, None, 13, 14, 15))
        changed_to = syscall_stop(found.pid)
        assert changed_to.nr == GETPPID
        assert changed_to.args == (MARK, 11, 2, 13, 14, 15)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (thread.CallChange(abort=True, result="EPERM"), -1),
        (thread.CallChange(abort=True, result=12345), 12345),
        (thread.CallChange(result=-7), -7),
        (thread.CallChange(nr="close", args=(Hex(9999),)), -9),
    ],
)
def test_calls_of_the_32_bit_kind_are_changed(change, value):
    said, _ = changed(call_by_the_other_door, change)
    assert said[0] == value


@pytest.mark.parametrize("change", [thread.CallChange(abort=True, result="EPERM")])
def test_a_seccomp_filter_does_not_kill_for_an_aborted_call(change):
    assert changed(filtered, change)[0] == [-1, 1]


def test_an_aborted_call_returns_what_was_chosen_though_we_are_killed():
    with seized(call_and_say) as found:
        found.go()
        while True:
            go_on(found, ptrace.PTRACE_SYSCALL)
            stop = syscall_stop(found.pid)
            if stop.entering and stop.nr == GETPPID:
                break
        calls.abort(found.pid, "x86_64", -1)
        ptrace.call(ptrace.PTRACE_DETACH, found.pid)
        found.hear(b"[-1 1]")


def test_a_thread_that_is_gone_is_nothing_to_change():
    gone = ended()
    calls.change(gone, "x86_64", 1, (1, 2))
    calls.abort(gone, "i386", 1)
    calls.set_result(gone, 1)


def test_a_thread_makes_another_call_and_its_own_again():
    with target(call_and_say) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events=())).engine
        hand.call(engine.SetSyscalls(engine=number, exit=CallFilter(set=("getppid",))))
        hand.call(engine.SetEvents(engine=number, events={"syscall_exit": "hold"}))
        found.go()
        hand.wait_for(events.SyscallExit)
        at = syscall_stop(found.pid)
        calls.make(found.pid, "x86_64", 3, at.pc, (9999,))
        hand.call(thread.Resume(engine=number, action="syscall"))
        entry = hand.wait_for(events.SyscallEntry)
        assert (entry.name, entry.args[0], entry.pc) == ("close", hex(9999), hex(at.pc))
        hand.call(thread.Resume(engine=number, action="syscall"))
        hand.until(lambda: len(hand.told(events.SyscallExit)) == 2)
        assert hand.told(events.SyscallExit)[1].errno == "EBADF"
        calls.make(found.pid, "x86_64", GETPPID, at.pc, (MARK, 1, 2))
        hand.call(engine.SetEvents(engine=number, events=()))
        hand.call(thread.Resume(engine=number))
        hand.until(lambda: found.said(b"[%d 0]" % os.getpid()))


def test_a_thread_that_is_gone_makes_no_call():
    calls.make(ended(), "x86_64", GETPPID, 0x401000, ())
