"""What a trace tells of system calls: whole ones, open ones, overtaken ones, and none before the exec it waits for."""

from __future__ import annotations

import pytest

from tests.tracing.playbook import (
    X86_64,
    Playbook,
    cloned,
    dead,
    entering,
    execed,
    forked,
    interrupted,
    leaving,
    signalled,
    vfork_done,
)
from utraced.observing.trace import REMEMBERED, Trace
from utraced.tracing import control
from utraced.tracing.actions import Wish

GOES_ON = "restart 10 syscall"


def traced(play: Playbook, *others: int, words=("all",), **settings) -> Trace:
    """Return a trace T of process 10, whose threads run."""
    play.seize(10, *others)
    trace = play.trace("T", 10, words, **settings)
    for tid in (10, *others):
        play << interrupted(tid)
    play.done()
    play.events.clear()
    return trace


def test_a_call_is_told_when_it_returns(play):
    traced(play)
    assert play << entering(10, "close", 5, at=100) == [GOES_ON]
    assert play << leaving(10, -9, at=130) == [f"T: syscall 10 name=close return=-9 errno=EBADF {TIMES}", GOES_ON]
    event = play.events[0]
    assert (event.start_ns, event.duration_ns, event.time_ns) == (100, 30, 130)
    assert (event.arch, event.nr, event.args[0], event.trace) == ("x86_64", 3, "0x5", 1)


TIMES = "start_ns=100 duration_ns=30"


def told(lines: list[str]) -> list[str]:
    """Return what was told, without its times."""
    return [
        " ".join(word for word in line.split() if not word.startswith(("start_ns", "duration_ns")))
        for line in lines
        if line.startswith("T:")
    ]


def test_strings_are_read_at_entry(play):
    traced(play, limit=4)
    play.targets[10].contents[0x1000] = b"/etc/passwd\0"
    play << entering(10, "openat", 0xFFFFFF9C, 0x1000)
    play.targets[10].contents.clear()
    play << leaving(10, 3)
    text = play.events[0].strings["1"]
    assert (text.text, text.bytes) == ("/etc/passwd", None)


def test_buffers_that_the_kernel_fills_are_read_at_return(play):
    traced(play, limit=4)
    play << entering(10, "read", 0, 0x1000, 100)
    play.targets[10].contents[0x1000] = b"ab\xff\0cdef"
    play << leaving(10, 8)
    text = play.events[0].strings["1"]
    assert (text.text, text.bytes, text.truncated) == ("ab\\xff\0", b"ab\xff\0", True)


def test_a_stack_is_taken_at_entry_of_a_call_that_is_wanted(play):
    trace = traced(play, words=("close",), stacks=True)
    assert play << entering(10, "close", 5) == ["stack 10", GOES_ON]
    ((entry,),) = [thread.entries.values() for thread in play.core.processes[10].tracees.values()]
    entry.stack = (0x401000, 0x402000)
    assert told(play << leaving(10, 0)) == ["T: syscall 10 name=close return=0 stack=('0x401000', '0x402000')"]
    assert play << entering(10, "getppid") == [GOES_ON]
    assert trace.stacks


def test_only_the_selected_calls_are_told(play):
    traced(play, words=["close"])
    play << entering(10, "getpid")
    assert told(play << leaving(10, 10)) == []
    play << entering(10, "close")
    assert told(play << leaving(10)) == ["T: syscall 10 name=close return=0"]


def test_failed_only(play):
    trace = traced(play, failed_only=True, entries=True)
    assert not trace.entries
    play << entering(10, "close")
    assert told(play << leaving(10)) == []
    play << entering(10, "close")
    assert told(play << leaving(10, -9)) == ["T: syscall 10 name=close return=-9 errno=EBADF"]
    play << entering(10, "pause")
    assert [line.split()[1] for line in told(play << dead(10))] == ["death", "detached"]


def test_nothing_is_told_before_the_exec_it_waits_for(play):
    trace = traced(play, from_exec=True)
    play << entering(10, "getpid")
    assert told(play << leaving(10)) == []
    assert told(play << signalled(10, 10)) == []
    assert told(play << cloned(10, 11)) == []
    play << entering(10, "execve", 0x1000)
    assert not trace.waiting
    assert told(play << execed(10)) == ["T: death 11", "T: exec 10 path=/bin/true former_tid=10"]
    assert told(play << leaving(10)) == ["T: syscall 10 name=execve return=0"]


def test_the_end_is_told_to_a_trace_that_still_waits(play):
    traced(play, from_exec=True)
    assert play << dead(10) == ["T: detached 10 reason=target_exited status=0", "retire T", "forget 10"]


def test_signals_are_told_but_never_held(play):
    traced(play)
    assert (play << signalled(10, 10))[-1] == "restart 10 syscall 10"
    assert play << vfork_done(10, 20) == [GOES_ON]


# Calls that do not return, or not soon


def test_an_open_call_is_told_at_the_end_of_its_thread(play):
    traced(play)
    play << entering(10, "exit_group", 3, at=200)
    assert told(play << dead(10, 3)) == [
        "T: syscall 10 name=exit_group unfinished=True",
        "T: death 10 status=3 last=True",
        "T: detached 10 reason=target_exited status=3",
    ]


def test_open_calls_are_told_when_the_trace_is_stopped(play):
    trace = traced(play, 11)
    play << entering(10, "pause")
    play << entering(11, "read")
    assert told(play.end(trace)) == [
        "T: syscall 10 name=pause unfinished=True",
        "T: syscall 11 name=read unfinished=True",
        "T: detached 10 reason=client_request",
    ]
    assert not play.core.traces


def test_an_exec_swallows_calls_of_other_threads(play):
    traced(play, 11)
    play << entering(10, "pause")
    play << entering(11, "execve")
    assert told(play << execed(10, 11)) == [
        "T: syscall 10 name=pause unfinished=True",
        "T: death 10 successor_tid=11",
        "T: exec 10 path=/bin/true former_tid=11",
    ]
    assert told(play << leaving(10)) == ["T: syscall 10 name=execve return=0"]


def test_a_call_that_another_engine_steps_over_is_told(play):
    traced(play)
    engine = play.attach("A", 10, events={"syscall_entry": "hold"})
    play << entering(10, "getpid")
    assert play.resume(engine, 10, Wish.STEP) == ["restart 10 syscall"]
    lines = play << leaving(10, 10)
    assert told(lines) == ["T: syscall 10 name=getpid return=10"]
    assert lines[-1] == "A: step 10 held"


def test_a_return_without_an_entry_is_not_told(play):
    traced(play)
    assert play << leaving(10, 5) == [GOES_ON]


# Entries


def test_entries_are_told_where_another_event_overtakes_them_in_the_order_of_the_calls(play):
    traced(play, 11, 12, entries=True)
    play << entering(11, "read")
    play << entering(10, "pause")
    assert told(play << signalled(12, 10)) == [
        "T: syscall_entry 11 name=read",
        "T: syscall_entry 10 name=pause",
        "T: signal 12 signal=SIGUSR1 code=SI_USER sender_pid=0 sender_uid=0",
    ]
    assert told(play << leaving(11)) == ["T: syscall 11 name=read return=0"]
    assert [event.time_ns for event in play.events] == sorted(event.time_ns for event in play.events)


def test_a_signal_comes_after_the_entry_of_the_call_it_interrupts(play):
    traced(play, entries=True)
    play << entering(10, "pause")
    assert told(play << signalled(10, 10))[0] == "T: syscall_entry 10 name=pause"


def test_calls_that_overlap_are_told_whole(play):
    traced(play, 11, entries=True)
    play << entering(10, "read")
    play << entering(11, "getpid")
    assert told(play << leaving(11)) == ["T: syscall 11 name=getpid return=0"]
    assert told(play << leaving(10)) == ["T: syscall 10 name=read return=0"]


def test_calls_that_last_are_told_when_they_are_overdue(play):
    traced(play, 11, entries=True)
    play << entering(10, "pause", at=100)
    play << entering(11, "pause", at=200)
    assert play.core.waiting_entries()
    assert play.core.overdue(150)
    assert told(play.done()) == ["T: syscall_entry 10 name=pause"]
    assert not play.core.overdue(250)
    assert told(play.done()) == ["T: syscall_entry 11 name=pause"]
    assert not play.core.overdue(250)


def test_a_thread_that_is_gone_has_no_entry_to_tell(play):
    trace = traced(play, 11, entries=True)
    play << entering(11, "pause")
    play << dead(11)
    assert not trace.untold
    play << entering(10, "pause")
    play.core.drop(play.tracee(10))
    assert not trace.untold


# Trees


def test_a_trace_ends_once_with_the_last_of_its_processes(play):
    trace = traced(play, follow=True)
    assert told(play << forked(10, 20)) == ["T: clone 10 how=fork child_pid=20 child_tid=20"]
    assert play << interrupted(20) == ["restart 20 syscall"]
    assert trace.processes == 2
    assert told(play << dead(10)) == ["T: death 10 status=0 last=True"]
    assert told(play << dead(20, 1)) == [
        "T: death 20 status=1 last=True",
        "T: detached 20 reason=target_exited status=1",
    ]


def test_a_whole_tree_is_let_go_at_once(play):
    trace = traced(play, follow=True)
    play << forked(10, 20)
    play << interrupted(20)
    assert play.end(trace) == ["interrupt 10", "T: detached 20 reason=client_request", "retire T", "interrupt 20"]


def test_without_follow_children_are_let_go(play):
    traced(play)
    play << forked(10, 20)
    assert play << interrupted(20) == ["detach 20", "forget 20"]


def test_calls_of_any_number_do_not_fill_the_memory(play):
    trace = traced(play)
    for number in range(REMEMBERED + 10):
        stop = entering(10)
        stop.nr = 1000 + number
        play << stop
    assert len(trace._plans) <= REMEMBERED


def test_two_traces_and_an_engine_share_a_process(play):
    play.running(10, A={"events": {"syscall_exit": "report"}})
    play.trace("T", 10, ["getpid"])
    play.trace("U", 10, ["close"])
    play << entering(10, "getpid")
    lines = play << leaving(10, 10)
    assert [line.split()[0] for line in lines] == ["A:", "T:", "restart"]


@pytest.mark.parametrize("name", ["i386", "x32"])
def test_calls_of_other_conventions(play, name):
    from utraced.syscalls.abi import ABIS

    traced(play)
    abi = ABIS[name]
    stop = entering(10)
    stop.arch, stop.nr = abi.arch, abi.numbers["getpid"]
    play << stop
    play << leaving(10, 10)
    assert (play.events[0].arch, play.events[0].name) == (name, "getpid")
    assert abi is not X86_64


def test_refreshing_a_traced_process_changes_nothing(play):
    traced(play)
    control.refresh(play.core, play.core.processes[10])
    assert play.done() == []
