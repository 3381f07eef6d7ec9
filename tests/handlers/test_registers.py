import os

import pytest

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import target
from utraced.api import engine, registers, thread
from utraced.errors import Contended, Gone, InvalidParams, NoSuchObject, NoSuchProcess, NotHeld
from utraced.model import Empty, Hex


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


def test_what_is_written_is_read_by_others_who_hold_it():
    with target() as found, by_hand() as hand:
        first = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        second = hand.call(engine.Attach(pid=found.pid)).engine
        before = hand.call(registers.Read(engine=first, tid=found.pid, set=("general", "fp")))
        wanted = {"general": {"r15": Hex(0x1234)}, "fp": {"cwd": Hex(0x27F)}, "debug": {"dr0": Hex(0x1000)}}
        assert hand.call(registers.Write(engine=first, tid=found.pid, **wanted)) == Empty()
        hand.call(thread.Stop(engine=second))
        now = hand.call(registers.Read(engine=second, tid=found.pid, set=("general", "fp", "debug")))
        assert now.general == before.general | wanted["general"]
        assert now.fp == before.fp | wanted["fp"]
        assert now.debug["dr0"] == 0x1000


def test_only_who_alone_holds_the_thread_may_write():
    with target() as found, by_hand() as hand:
        first = hand.call(engine.Attach(pid=found.pid)).engine
        other = hand.another(2)
        wanted = {"tid": found.pid, "general": {"r15": Hex(0x1234)}}
        with pytest.raises(NotHeld):
            hand.call(registers.Write(engine=first, **wanted))
        hand.call(thread.Stop(engine=first))
        second = hand.call(engine.Attach(pid=found.pid, hold=True), session=other).engine
        with pytest.raises(Contended) as caught:
            hand.call(registers.Write(engine=first, **wanted))
        holder = caught.value.data["holder"]
        assert (holder.session, holder.pid) == (2, os.getpid())
        assert holder.comm
        hand.call(engine.Detach(engine=second), session=other)
        hand.call(registers.Write(engine=first, **wanted))
        with pytest.raises(NoSuchProcess):
            hand.call(registers.Write(engine=first, tid=1, general={}))
        with pytest.raises(InvalidParams) as refused:
            hand.call(registers.Write(engine=first, tid=found.pid, fp={}, xstate=b"x"))
        assert refused.value.data["member"] == "fp"
