"""Steps on the real kernel: over calls, into handlers, and what they leave behind."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal

import pytest

from tests.children import ended
from tests.kernel.by_hand import by_hand
from tests.kernel.seized import seized
from tests.kernel.targets import spin, target
from tests.live.machine import free, state
from utraced.api import engine, events, registers, thread
from utraced.kernel import stepping
from utraced.tracing.actions import Restart, Wish


def handled(side):
    """Count handled signals, and say the count when told to end."""
    count = 0

    def handle(*_):
        nonlocal count
        count += 1

    signal.signal(signal.SIGUSR1, handle)
    side.say(b"spinning")
    while os.getppid() and not count:
        pass
    side.say(b"handled")
    spin(side)


def tight(side):
    """Call getppid for ever, in three instructions."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b86e000000 0f05 ebf7".replace(" ", "")))
    side.say(b"spinning")
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()


def test_nobody_is_there_to_step():
    gone = ended()
    stepping.restart(Restart(gone, Wish.STEP, calls=True))
    assert not stepping.trap_waits(gone)


def test_a_step_into_a_handler_is_a_step():
    with target(handled) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        number = hand.call(engine.Attach(pid=found.pid, events={"signal": "hold"})).engine
        os.kill(found.pid, signal.SIGUSR1)
        hand.wait_for(events.Signal)
        hand.call(thread.Resume(engine=number, action="step"))
        first = hand.wait_for(events.Step)
        frame = hand.call(registers.Read(engine=number, tid=found.pid)).general
        assert frame["rip"] == int(first.pc, 16)
        assert frame["rdi"] == signal.SIGUSR1  # the handler's first argument
        hand.call(thread.Resume(engine=number))
        hand.until(lambda: found.said(b"handled"))
        assert hand.kinds().count("signal") == 1


@pytest.mark.parametrize("action", ["step", "block_step"])
def test_a_step_over_a_call_loses_nobody_the_call(action):
    with target(spin) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        stepper = hand.call(engine.Attach(pid=found.pid, hold=True, events=())).engine
        watcher = hand.call(engine.Attach(pid=found.pid, events=("syscall_entry", "syscall_exit"))).engine
        steps = 0
        while len(hand.told(events.SyscallExit)) < 2:
            hand.call(thread.Resume(engine=stepper, action=action))
            steps += 1
            hand.until(lambda steps=steps: len(hand.told(events.Step)) == steps, "a step")
        told = [(type(each), each.name) for each in hand.seen if each.engine == watcher]
        assert told[:2] == [(events.SyscallEntry, "getppid"), (events.SyscallExit, "getppid")]
        assert told == told[:2] * (len(told) // 2)
        assert steps > len(told)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "handled"])
def test_a_step_with_a_signal_at_a_call_loses_nobody_the_call(handler):
    def act(side):
        signal.signal(signal.SIGURG, handler)
        tight(side)

    with target(act) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        watcher = hand.call(engine.Attach(pid=found.pid, events=("syscall_entry", "syscall_exit"))).engine
        hand.until(lambda: len(hand.told(events.SyscallExit)) > 20, "the loop")
        stepper = hand.call(engine.Attach(pid=found.pid, hold=True, events={"signal": "hold"})).engine
        sent = held = 0
        while sent < 6:
            if stepping._at_call(found.pid) and not isinstance(hand.seen[-1], events.Signal):
                os.kill(found.pid, signal.SIGURG)
                sent += 1
            hand.call(thread.Resume(engine=stepper, action="step"))
            held += 1
            hand.until(lambda held=held: hand.kinds() and sum(each.held for each in hand.seen) == held, "a stop")
        told = [each for each in hand.seen if each.engine == watcher]
        assert len(hand.told(events.Signal)) > 1
        if handler is signal.SIG_IGN:
            whole = [(type(each), each.name) for each in told][: len(told) // 2 * 2]
            assert len(whole) > 20
            assert whole == [(events.SyscallEntry, "getppid"), (events.SyscallExit, "getppid")] * (len(whole) // 2)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_who_leaves_in_the_middle_of_a_step_leaves_no_trap(steps):
    for _ in range(15):
        with target(spin) as found, by_hand() as hand:
            found.go()
            found.hear(b"spinning")
            number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
            for _ in range(steps):
                hand.call(thread.Resume(engine=number, action="step"))
                hand.call(thread.Stop(engine=number))
            hand.call(engine.Detach(engine=number))
            hand.ended(found.pid)
            assert free(found.pid)
            assert state(found.pid) not in {"Z", "X", ""}


def test_a_trap_that_waits_behind_a_stop_is_seen():
    seen = set()
    with target(spin) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        for _ in range(300):
            hand.call(thread.Resume(engine=number, action="step"))
            hand.call(thread.Stop(engine=number))
            seen.add(stepping.trap_waits(found.pid))
            if seen == {False, True}:
                break
    assert False in seen


def test_the_instruction_that_makes_a_call_is_known():
    with seized() as found:
        # Interrupted in a read, it has its call behind it.
        assert not stepping._at_call(found.pid)
