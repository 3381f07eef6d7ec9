"""What is told of each kind of stop."""

from __future__ import annotations

import struct

from utraced.api import events
from utraced.tracing import control

from .playbook import dead, entering, execed, interrupted, leaving, signalled, vfork_done

BOTH = {"syscall_entry": "report", "syscall_exit": "report"}


def test_a_signal_is_told_with_its_sender_and_its_address(play):
    play.running(10, A={"events": {"signal": "report"}})
    info = struct.pack("<II", 123, 1000)
    assert play << signalled(10, 10, 0, info) == [
        "A: signal 10 signal=SIGUSR1 code=SI_USER sender_pid=123 sender_uid=1000",
        "restart 10 run 10",
    ]
    assert play << signalled(10, 11, 1, struct.pack("<Q", 0xDEAD000)) == [
        "A: signal 10 signal=SIGSEGV code=SEGV_MAPERR address=0xdead000",
        "restart 10 run 11",
    ]
    assert len(play.events[-1].info) == 128


def test_the_members_of_a_call_are_told(play):
    play.running(10, A={"events": BOTH})
    play << entering(10, "read", 3, 0x1000, 5, at=77)
    play << leaving(10, -9, at=78)
    entry, exit_ = play.events
    assert isinstance(entry, events.SyscallEntry)
    assert isinstance(exit_, events.SyscallExit)
    assert (entry.arch, entry.nr, entry.args[:3], entry.time_ns) == ("x86_64", 0, ("0x3", "0x1000", "0x5"), 77)
    assert (exit_.args, exit_.result, exit_.errno, exit_.time_ns) == (entry.args, -9, "EBADF", 78)
    assert (entry.pc, entry.sp, entry.pid) == ("0x401000", "0x7ffc0000", 10)


def test_a_call_whose_entry_was_not_seen_is_told_by_nobody(play):
    play.running(10, A={"events": BOTH})
    assert play << leaving(10, 0) == ["restart 10 syscall"]


def test_engines_are_told_only_the_calls_they_select(play):
    made = play.running(10, A={"events": BOTH})["A"]
    made.entry.choose(["write"])
    made.exit.enabled = False
    assert play << entering(10, "getpid") == ["restart 10 syscall"]
    assert play << leaving(10) == ["restart 10 syscall"]
    assert play << entering(10, "write", 1, 2, 3) == ["A: syscall_entry 10 name=write", "restart 10 syscall"]
    assert play << leaving(10) == ["restart 10 syscall"]


def test_single_threads_may_have_events_of_their_own(play):
    made = play.running(10, 11, A={"events": {"signal": "report"}})["A"]
    made.thread_events[11] = {"signal": "hold"}
    assert (play << signalled(10, 10))[-1] == "restart 10 run 10"
    assert (play << signalled(11, 10))[-1].endswith("held")


def test_the_end_of_a_vfork_is_told(play):
    play.running(10, A={"events": {"vfork_done": "report"}})
    assert play << vfork_done(10, 20) == ["A: vfork_done 10 child_pid=20", "restart 10 run"]


def test_an_exec_is_told_and_held_by_who_asked_for_it_at_attach(play):
    made = play.running(10, A={"hold_on_exec": True}, B={"events": {"exec": "hold"}}, C={})
    assert play << execed(10) == [
        "A: exec 10 path=/bin/true former_tid=10",
        "B: exec 10 path=/bin/true former_tid=10 held",
        "C: exec 10 path=/bin/true former_tid=10",
        "A: stop 10 why=exec held",
    ]
    assert play.tracee(10).holders == [made["B"], made["A"]]


def test_a_path_that_is_no_text_is_told_exactly(play):
    play.running(10, A={})
    play << execed(10, path=b"/bin/\xff")
    assert (play.events[0].path, play.events[0].path_bytes) == ("/bin/\\xff", b"/bin/\xff")
    play << execed(10, path=b"")
    assert (play.events[1].path, play.events[1].path_bytes) == (None, None)


def test_exits_stop_a_thread_only_while_an_engine_wants_them(play):
    made = play.running(10, A={"events": {"exec": "report"}})["A"]
    assert play << signalled(10, 10) == ["restart 10 run 10"]
    made.events["exit"] = "report"
    control.refresh(play.core, made.process)
    assert play.done() == ["interrupt 10"]
    assert play << interrupted(10) == ["options 10 exits", "restart 10 run"]
    del made.events["exit"]
    control.refresh(play.core, made.process)
    assert play.done() == ["interrupt 10"]
    assert play << interrupted(10) == ["options 10 no exits", "restart 10 run"]


def test_registers_are_put_into_the_events_of_stopped_threads_alone(play):
    made = play.running(10, 11, A={"registers": True, "events": {"signal": "report", "death": "report"}}, B={})
    assert [line.split(" ")[0] for line in play << signalled(10, 10)] == ["registers", "A:", "restart"]
    play.hold(made["A"], 10, announce=True)
    assert play << interrupted(10) == ["complete", "registers 10", "A: stop 10 why=requested held"]
    play.hold(made["B"], 10)
    play.resume(made["A"], 10)
    assert play.resume(made["B"], 10) == ["A: resumed 10", "restart 10 run"]
    assert play << dead(11) == ["A: death 11 status=0", "B: death 11 status=0"]
