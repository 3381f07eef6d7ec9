"""thread.stop and thread.resume; the signals that thread.signal sends are in test_thread.py."""

import ctypes
import os
import signal
import struct

import pytest

from tests.children import libc
from tests.kernel.by_hand import by_hand
from tests.kernel.targets import make_calls, spin, target, threads_then
from tests.live.machine import state, until
from utraced.api import engine, events, registers, thread
from utraced.errors import Contended, InvalidParams, NoSuchProcess, NotHeld
from utraced.handlers.thread import _result
from utraced.model import Hex


def spinning(found):
    found.go()
    found.hear(b"spinning")


def test_stopping_and_resuming():
    with target(spin) as found, by_hand() as hand:
        spinning(found)
        number = hand.call(engine.Attach(pid=found.pid)).engine
        (held,) = hand.call(thread.Stop(engine=number)).threads
        assert (held.tid, held.state, [holder.session for holder in held.holders]) == (found.pid, "held", [1])
        assert state(found.pid) == "t"
        assert hand.call(thread.Stop(engine=number)).threads == (held,)
        assert hand.call(thread.Resume(engine=number)) == thread.Running(running=True)
        with pytest.raises(NotHeld):
            hand.call(thread.Resume(engine=number))
        with pytest.raises(NotHeld):
            hand.call(thread.Resume(engine=number, tid=found.pid))
        assert hand.kinds() == []


def test_a_stop_that_is_not_waited_for_is_told():
    with target(spin) as found, by_hand() as hand:
        spinning(found)
        number = hand.call(engine.Attach(pid=found.pid)).engine
        assert [each.state for each in hand.call(thread.Stop(engine=number, wait=False)).threads] == ["pending"]
        stop = hand.wait_for(events.Stop)
        assert (stop.why, stop.held) == ("requested", True)
        hand.call(thread.Stop(engine=number, wait=False))
        assert len(hand.told(events.Stop)) == 2


def test_one_thread_of_several():
    with target(threads_then(2)) as found, by_hand() as hand:
        found.go()
        found.hear(b"started")
        attached = hand.call(engine.Attach(pid=found.pid))
        tid = next(each.tid for each in attached.threads if each.tid != found.pid)
        hand.call(thread.Stop(engine=attached.engine, tid=tid))
        states = {each.tid: each.state for each in hand.call(engine.Info(engine=attached.engine)).threads}
        assert [other for other, text in states.items() if text == "held"] == [tid]
        for method in (thread.Stop(engine=attached.engine, tid=1), thread.Resume(engine=attached.engine, tid=1)):
            with pytest.raises(NoSuchProcess):
                hand.call(method)
        hand.call(thread.Resume(engine=attached.engine))
        assert state(found.pid, tid) != "t"


def test_who_else_holds_it_is_told_and_when_it_runs():
    with target() as found, by_hand() as hand:
        other = hand.another(2)
        one = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        two = hand.call(engine.Attach(pid=found.pid, hold=True), session=other).engine
        told = hand.call(thread.Resume(engine=one))
        assert (told.running, [holder.session for holder in told.holders]) == (False, [2])
        assert hand.call(engine.Info(engine=one)).threads[0].state == "stopped"
        hand.call(thread.Resume(engine=two), session=other)
        assert hand.wait_for(events.Resumed).tid == found.pid
        other.close("session_closed", 0)


def test_steps_are_told_and_held():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        hand.call(thread.Resume(engine=number, action="syscall"))
        found.go()
        hand.until(hand.kinds)
        for count in range(1, 5):
            hand.call(thread.Resume(engine=number, action="step"))
            hand.until(lambda count=count: len(hand.told(events.Step)) == count)
            step = hand.told(events.Step)[-1]
            assert step.held
            general = hand.call(registers.Read(engine=number, tid=found.pid)).general
            assert int(step.pc, 16) == general["rip"]


def test_a_call_asked_for_is_told_though_no_event_was_chosen():
    with target(make_calls(1)) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True, events=())).engine
        found.go()
        names = []
        for _ in range(6):
            hand.call(thread.Resume(engine=number, action="syscall"))
            before = len(hand.seen)
            hand.until(lambda before=before: len(hand.kinds()) > before)
            assert hand.seen[-1].held
            names.append(hand.kinds()[-1])
        assert {"syscall_entry", "syscall_exit"} <= set(names)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (None, signal.SIGUSR1),
        (thread.SignalChange(), signal.SIGUSR1),
        (thread.SignalChange(number="SIGUSR2"), signal.SIGUSR2),
        (thread.SignalChange(number=int(signal.SIGTERM)), signal.SIGTERM),
    ],
)
def test_what_becomes_of_a_signal(change, expected):
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events={"signal": "hold", "death": "report"})).engine
        os.kill(found.pid, signal.SIGUSR1)
        held = hand.wait_for(events.Signal)
        assert (held.signal, held.held, held.sender_pid) == ("SIGUSR1", True, os.getpid())
        hand.call(thread.Resume(engine=number, tid=found.pid, signal=change))
        hand.ended(found.pid)
        assert hand.told(events.Death)[0].status.signal == signal.Signals(expected).name


def test_a_signal_may_be_dropped():
    with target(lambda side: side.say(b"alive")) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events={"signal": "hold"})).engine
        os.kill(found.pid, signal.SIGUSR1)
        hand.wait_for(events.Signal)
        with pytest.raises(InvalidParams):
            hand.call(thread.Resume(engine=number, signal=thread.SignalChange(number="SIGNOTHING")))
        hand.call(thread.Resume(engine=number, signal=thread.SignalChange(deliver=False)))
        found.go()
        hand.until(lambda: found.said(b"alive"))


def test_a_signal_that_another_holds_is_not_changed():
    with target() as found, by_hand() as hand:
        other = hand.another(2)
        one = hand.call(engine.Attach(pid=found.pid, events={"signal": "hold"})).engine
        two = hand.call(engine.Attach(pid=found.pid, events={"signal": "hold"}), session=other).engine
        os.kill(found.pid, signal.SIGUSR1)
        hand.wait_for(events.Signal)
        with pytest.raises(Contended) as caught:
            hand.call(thread.Resume(engine=one, signal=thread.SignalChange(deliver=False)))
        # It tells who it is, for a person to find.
        holder = caught.value.data["holder"]
        assert (holder.session, holder.pid) == (2, os.getpid())
        assert holder.comm
        hand.call(thread.Resume(engine=two), session=other)
        hand.call(thread.Resume(engine=one, signal=thread.SignalChange(deliver=False)))
        assert state(found.pid) != "t"
        other.close("session_closed", 0)


def test_there_is_no_signal_where_the_thread_is_held():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        with pytest.raises(NotHeld):
            hand.call(thread.Resume(engine=number, signal=thread.SignalChange(deliver=False)))
        assert state(found.pid) == "t"


def test_nothing_holds_against_sigkill():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        os.kill(found.pid, signal.SIGKILL)
        hand.call(thread.Stop(engine=number))
        hand.ended(found.pid)
        assert hand.told(events.Death)[0].status.signal == "SIGKILL"


HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def told(address):
    """Return si_signo, si_code, si_pid and si_uid of a siginfo_t."""
    number, _, code, pid, uid = struct.unpack("<iiixxxxII", ctypes.string_at(address, 24))
    return number, code, pid, uid


INFO = struct.pack("<iiixxxxII", 99, 0, -1, 4711, 42)
"""A siginfo_t of SI_QUEUE; whose signal it is, is corrected."""


def test_a_changed_signal_is_held_for_its_handler(tmp_path):
    path = tmp_path / "said"

    def act(side):
        handler = HANDLER(lambda number, info, _: path.write_text(" ".join(map(str, (number, *told(info))))))
        action = struct.pack("<Q128xi4xQ", ctypes.cast(handler, ctypes.c_void_p).value, 4, 0)
        assert libc().sigaction(signal.SIGUSR2, action, None) == 0
        side.say(b"ready to be signalled")
        side.wait()
        os.getppid()

    with target(act) as found, by_hand() as hand:
        found.go()
        found.hear(b"ready to be signalled")
        number = hand.call(engine.Attach(pid=found.pid, events={"signal": "hold"})).engine
        os.kill(found.pid, signal.SIGUSR1)
        hand.wait_for(events.Signal)
        hand.call(thread.Resume(engine=number, signal=thread.SignalChange(number="SIGUSR2", info=INFO)))
        found.go()
        hand.until(path.exists, "the handler")
        until(path.read_text, "what it says")
        assert path.read_text().split() == ["12", "12", "-1", "4711", "42"]


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"signal": thread.SignalChange(deliver=False, number="SIGUSR2")}, "deliver"),
        ({"signal": thread.SignalChange(deliver=False, info=INFO)}, "deliver"),
        ({"signal": thread.SignalChange(), "syscall": thread.CallChange()}, "syscall"),
        ({"syscall": thread.CallChange(abort=True, nr="read")}, "abort"),
        ({"syscall": thread.CallChange(abort=True, args=(Hex(1),))}, "abort"),
        ({"syscall": thread.CallChange(result="ENOTHING")}, "return"),
        ({"syscall": thread.CallChange(result=-512)}, "return"),
        ({"syscall": thread.CallChange(result=-516)}, "return"),
        ({"syscall": thread.CallChange(result="0xfffffffffffffe00")}, "return"),
        ({"syscall": thread.CallChange(nr="gettpid")}, "nr"),
    ],
)
def test_changes_that_cannot_be_made(changes, member):
    with target(make_calls(1)) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events={"syscall_entry": "hold"})).engine
        found.go()
        hand.wait_for(events.SyscallEntry)
        with pytest.raises(InvalidParams) as caught:
            hand.call(thread.Resume(engine=number, **changes))
        assert caught.value.data["member"] == member
        assert state(found.pid) == "t"


def test_a_call_is_changed_where_it_is_held():
    with target(make_calls(1)) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        with pytest.raises(NotHeld, match="system call"):
            hand.call(thread.Resume(engine=number, syscall=thread.CallChange(abort=True)))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (None, None),
        (5, 5),
        (-5, -5),
        ("EPERM", -1),
        ("EWOULDBLOCK", -11),
        ("0x7f00", 0x7F00),
        ("0xffffffffffffffff", -1),
    ],
)
def test_results_are_written_in_many_ways(written, value):
    assert _result(written) == value
