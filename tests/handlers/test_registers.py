import pytest

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import target
from utraced.api import engine, registers, thread
from utraced.errors import Gone, NoSuchObject, NoSuchProcess, NotHeld


def test_the_sets_that_are_asked_for_of_a_held_thread():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        general = hand.call(registers.Read(engine=number, tid=found.pid))
        assert general.general["rip"]
        assert (general.fp, general.xstate, general.debug) == (None, None, None)
        every = hand.call(registers.Read(engine=number, tid=found.pid, set=("general", "fp", "xstate", "debug")))
        assert every.general == general.general
        assert every.fp["cwd"] == 0x37F
        assert len(every.xstate) >= 576
        assert every.debug["dr7"] == 0


def test_only_who_holds_the_thread_may_read():
    with target() as found, by_hand() as hand:
        first = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        second = hand.call(engine.Attach(pid=found.pid)).engine
        with pytest.raises(NotHeld):
            hand.call(registers.Read(engine=second, tid=found.pid))
        hand.call(thread.Resume(engine=first))
        with pytest.raises(NotHeld):
            hand.call(registers.Read(engine=first, tid=found.pid))
        with pytest.raises(NoSuchProcess):
            hand.call(registers.Read(engine=first, tid=1))
        with pytest.raises(NoSuchObject):
            hand.call(registers.Read(engine=99, tid=found.pid))
        hand.call(engine.Detach(engine=first))
        with pytest.raises(Gone):
            hand.call(registers.Read(engine=first, tid=found.pid))
