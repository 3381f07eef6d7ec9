"""Signals and system calls, changed by who holds a thread at them."""

from __future__ import annotations

import pytest

from utraced.api import events
from utraced.errors import Contended, InvalidParams, NotHeld
from utraced.syscalls.abi import ABIS
from utraced.tracing import control
from utraced.tracing.actions import Wish
from utraced.tracing.changes import CallChange
from utraced.tracing.stops import SyscallStop

from .playbook import PC, SP, dead, entering, interrupted, leaving, now, signalled

HOLD = {"syscall_entry": "hold"}
BOTH = {"syscall_entry": "hold", "syscall_exit": "report"}


def at_entry(play, name="getpid", **others):
    made = play.running(10, A={"events": HOLD}, **others)
    play << entering(10, name)
    return made["A"]


def test_a_call_that_is_aborted_returns_what_was_chosen(play):
    engine = at_entry(play)
    assert play.resume(engine, 10, call=CallChange(abort=True, result=-1)) == [
        "abort 10 x86_64 -1",
        "restart 10 syscall",
    ]
    assert play << leaving(10, -38) == ["result 10 -1", "restart 10 syscall"]
    assert play << leaving(10, 5) == ["restart 10 syscall"]


def test_a_call_that_is_aborted_without_a_word_is_not_there(play):
    engine = at_entry(play)
    assert play.resume(engine, 10, call=CallChange(abort=True))[0] == "abort 10 x86_64 -38"


def test_the_return_is_waited_for_though_nobody_else_asks_for_it(play):
    engine = at_entry(play)
    engine.events.clear()
    engine.process.refresh()
    assert play.resume(engine, 10, call=CallChange(result=77)) == ["restart 10 syscall"]
    assert play << leaving(10, 5) == ["result 10 77", "restart 10 run"]


def test_all_are_told_what_the_program_sees(play):
    engine = at_entry(play, B={"events": {"syscall_exit": "report"}})
    play.resume(engine, 10, call=CallChange(result=-13))
    assert play << leaving(10, 5) == [
        "result 10 -13",
        "B: syscall_exit 10 name=getpid return=-13 errno=EACCES",
        "restart 10 syscall",
    ]


def test_a_call_is_replaced_by_another(play):
    engine = at_entry(play, "openat", B={"events": {"syscall_exit": "report"}})
    change = CallChange(nr="getppid", args=(1, None, 3))
    assert play.resume(engine, 10, call=change) == ["call 10 x86_64 110 1 None 3", "restart 10 syscall"]
    # It is told as the program made it.
    assert (play << leaving(10, 5))[0] == "B: syscall_exit 10 name=openat return=5"


def test_arguments_alone_are_changed(play):
    engine = at_entry(play)
    assert play.resume(engine, 10, call=CallChange(args=(None, 2)))[0] == "call 10 x86_64 39 None 2"


def test_no_change_is_none(play):
    engine = at_entry(play)
    assert play.resume(engine, 10, call=CallChange(args=(None,))) == ["restart 10 syscall"]
    play << leaving(10)
    play << entering(10)
    assert play.resume(engine, 10, call=CallChange()) == ["restart 10 syscall"]


def test_calls_are_named_as_their_caller_makes_them(play):
    made = play.running(10, A={"events": HOLD})["A"]
    i386 = ABIS["i386"]
    play << SyscallStop(10, now(), PC, True, i386.arch, SP, i386.numbers["getpid"], (0,) * 6)
    with pytest.raises(InvalidParams, match="i386"):
        play.resume(made, 10, call=CallChange(nr="arch_prctl_of_old"))
    with pytest.raises(InvalidParams):
        play.resume(made, 10, call=CallChange(nr="nothing"))
    assert play.resume(made, 10, call=CallChange(nr="waitpid"))[0] == "call 10 i386 7"


def test_a_number_is_taken_as_it_is(play):
    engine = at_entry(play)
    assert play.resume(engine, 10, call=CallChange(nr=511))[0] == "call 10 x86_64 511"


def test_a_result_is_changed_where_the_call_returns(play):
    made = play.running(10, A={"events": {"syscall_exit": "hold"}})["A"]
    play << entering(10)
    play << leaving(10, 5)
    for change in (CallChange(abort=True), CallChange(nr=1), CallChange(args=(1,))):
        with pytest.raises(NotHeld, match="result"):
            play.resume(made, 10, call=change)
    assert play.resume(made, 10, call=CallChange(result=6)) == ["result 10 6", "restart 10 syscall"]


@pytest.mark.parametrize("stop", [signalled(10, 10), interrupted(10)])
def test_only_at_a_call_can_one_be_changed(play, stop):
    made = play.running(10, A={"events": {"signal": "hold"}})["A"]
    play.hold(made)
    play << stop
    with pytest.raises(NotHeld, match="system call"):
        play.resume(made, 10, call=CallChange(abort=True))


def test_one_that_is_not_stopped_yet_is_at_no_call(play):
    made = play.running(10, A={})["A"]
    play.hold(made)
    with pytest.raises(NotHeld):
        play.resume(made, 10, call=CallChange(abort=True))


def test_a_call_that_another_holds_too_is_contended(play):
    engine = at_entry(play, B={"events": HOLD})
    with pytest.raises(Contended) as raised:
        play.resume(engine, 10, call=CallChange(abort=True))
    assert raised.value.data["holder"].session == 2
    other = play.owner("B").engines[1]
    assert play.resume(other, 10) == ["still held"]
    assert play.resume(engine, 10, call=CallChange(abort=True))[-1] == "restart 10 syscall"


def test_nothing_is_changed_where_one_of_many_cannot(play):
    made = play.running(10, 11, A={"events": HOLD})["A"]
    play << entering(10)
    play.hold(made, 11)
    play << interrupted(11)
    with pytest.raises(NotHeld):
        control.resume(play.core, made, [play.tracee(10), play.tracee(11)], Wish.RUN, CallChange(abort=True))
    assert play.done() == []
    assert play.tracee(10).holders == [made]


@pytest.mark.parametrize("restart", [-512, -513, -514, -516])
def test_a_call_that_is_made_again_gives_its_result_when_it_returns(play, restart):
    engine = at_entry(play, "read")
    play.resume(engine, 10, call=CallChange(result=9))
    assert play << leaving(10, restart) == ["restart 10 syscall"]
    engine.events.clear()
    assert play << interrupted(10) == ["restart 10 syscall"]
    again = "restart_syscall" if restart == -516 else "read"
    assert play << entering(10, again) == ["restart 10 syscall"]
    assert play << leaving(10, 3) == ["result 10 9", "restart 10 syscall"]


def test_a_call_that_is_not_made_again_takes_its_result_along(play):
    engine = at_entry(play, "read")
    play.resume(engine, 10, call=CallChange(result=9))
    play << leaving(10, -512)
    engine.events.clear()
    play << entering(10, "write")
    assert play << leaving(10, 3) == ["restart 10 syscall"]


def test_an_aborted_call_is_not_made_again(play):
    engine = at_entry(play, "read")
    play.resume(engine, 10, call=CallChange(abort=True, result=-4))
    assert play << leaving(10, -512) == ["result 10 -4", "restart 10 syscall"]


def test_a_step_over_an_aborted_call_ends_at_its_return(play):
    engine = at_entry(play)
    assert play.resume(engine, 10, Wish.STEP, call=CallChange(abort=True, result=-1)) == [
        "abort 10 x86_64 -1",
        "restart 10 syscall",
    ]
    assert play << leaving(10, -38) == ["result 10 -1", "A: step 10 held"]


def test_a_thread_that_dies_with_a_result_to_come_is_dead(play):
    engine = at_entry(play)
    play.resume(engine, 10, call=CallChange(abort=True))
    assert play << dead(10) == ["A: detached 10 reason=target_exited status=0", "retire A", "forget 10"]


def test_the_information_of_a_signal_is_changed(play):
    made = play.running(10, A={"events": {"signal": "hold"}})["A"]
    play << signalled(10, 10)
    info = bytes(range(128))
    assert play.resume(made, 10, info=info) == ["info 10 0a000000", "restart 10 run 10"]
    play << signalled(10, 10)
    # It is of the signal that is delivered, or the kernel would make another up.
    assert play.resume(made, 10, signal=12, info=info) == ["info 10 0c000000", "restart 10 run 12"]


def test_the_events_of_a_changed_call_name_it_as_it_was_made(play):
    made = play.running(10, A={"events": BOTH})["A"]
    play << entering(10, "openat", 1, 2, 3)
    play.resume(made, 10, call=CallChange(nr="close", args=(9,)))
    play << leaving(10, 0)
    exit_ = play.events[-1]
    assert isinstance(exit_, events.SyscallExit)
    assert (exit_.name, exit_.args[:3]) == ("openat", ("0x1", "0x2", "0x3"))
