import os
import signal

import pytest

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import make_calls, spin, target
from tests.live.machine import free, state
from utraced.api import engine, events, thread
from utraced.errors import Gone, InvalidParams, NoSuchObject, NoSuchProcess


def fork_and_end(side):
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    os.waitpid(pid, 0)
    side.say(b"done")
    side.wait()


def test_the_events_that_are_told_where_none_are_chosen():
    with target(fork_and_end) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        told = hand.call(engine.Info(engine=number))
        assert told.events == dict.fromkeys(("exec", "clone", "exit", "death"), "report")
        assert (told.hold, told.hold_on_exec, told.follow, told.status) == (False, False, False, None)
        found.go()
        hand.until(lambda: found.said(b"done"))
        assert hand.kinds() == ["clone"]
        found.go()
        hand.ended(found.pid)
        assert hand.kinds() == ["clone", "exit", "death", "detached"]


def test_a_list_of_events_reports_them():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events=("signal", "reap"))).engine
        assert hand.call(engine.Info(engine=number)).events == {"signal": "report", "reap": "report"}
        os.kill(found.pid, signal.SIGUSR1)
        hand.ended(found.pid)
        assert hand.kinds() == ["signal", "reap", "detached"]


def test_following_names_the_child_s_engine_before_its_events():
    with target(fork_and_end) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, follow=True)).engine
        found.go()
        hand.until(lambda: found.said(b"done"))
        clone = hand.told(events.Clone)[0]
        assert clone.child_engine == number + 1
        of_child = [event for event in hand.seen if event.engine == clone.child_engine]
        assert [type(event) for event in of_child] == [events.Exit, events.Death, events.Detached]
        assert hand.seen.index(clone) < hand.seen.index(of_child[0])
        assert of_child[1].status.code == 3
        with pytest.raises(Gone) as caught:
            hand.call(engine.Info(engine=clone.child_engine))
        assert caught.value.data["status"].code == 3


def test_following_with_hold_holds_the_child_before_its_first_instruction():
    with target(fork_and_end) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, follow=True, hold=True)).engine
        found.go()
        hand.call(thread.Resume(engine=number))
        stop = hand.wait_for(events.Stop)
        assert (stop.why, stop.held) == ("attached", True)
        assert state(stop.pid) == "t"
        hand.call(thread.Resume(engine=stop.engine))
        hand.until(lambda: found.said(b"done"))


def test_an_exec_may_hold():
    with target(lambda _: os.execv("/bin/true", ["true"])) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, hold_on_exec=True)).engine
        found.go()
        stop = hand.wait_for(events.Stop)
        assert (stop.why, stop.engine) == ("exec", number)
        exec_ = hand.told(events.Exec)[0]
        assert (exec_.path, exec_.former_tid) == (os.path.realpath("/bin/true"), found.pid)
        assert state(found.pid) == "t"
        hand.call(thread.Resume(engine=number))
        hand.ended(found.pid)


def test_detaching_lets_go_and_ends_the_id():
    with target(spin) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        number = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        hand.call(engine.Detach(engine=number))
        hand.until(lambda: free(found.pid))
        for method in (engine.Detach(engine=number), engine.Info(engine=number)):
            with pytest.raises(Gone):
                hand.call(method)
        with pytest.raises(NoSuchObject):
            hand.call(engine.Detach(engine=number + 1))


def test_a_detached_engine_leaves_the_others():
    with target() as found, by_hand() as hand:
        one = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        two = hand.call(engine.Attach(pid=found.pid, hold=True)).engine
        hand.call(engine.Detach(engine=one))
        assert state(found.pid) == "t"
        assert [each.engine for each in hand.call(engine.List()).engines] == [two]
        assert hand.call(engine.List()).engines[0].start_time


def test_events_are_chosen_anew_for_all_threads_or_one():
    with target(lambda _: signal.pause()) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events=())).engine
        found.go()
        hand.call(engine.SetEvents(engine=number, events={"signal": "hold"}, tid=found.pid))
        os.kill(found.pid, signal.SIGWINCH)
        assert hand.wait_for(events.Signal).held
        hand.call(engine.SetEvents(engine=number, events=("death",)))
        hand.call(thread.Resume(engine=number))
        os.kill(found.pid, signal.SIGTERM)
        hand.ended(found.pid)
        assert hand.kinds() == ["signal", "death", "detached"]


def test_events_of_a_thread_that_is_not_there():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        with pytest.raises(NoSuchProcess):
            hand.call(engine.SetEvents(engine=number, events=(), tid=1))


def test_the_calls_that_are_told():
    with target(make_calls(3)) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events=("syscall_entry", "syscall_exit"))).engine
        one = engine.CallFilter(set=("getppid",))
        hand.call(engine.SetSyscalls(engine=number, entry=engine.CallFilter(enabled=False), exit=one))
        found.go()
        hand.until(lambda: found.said(b"done"))
        assert hand.kinds() == ["syscall_exit"] * 3
        assert {event.result for event in hand.seen} == {os.getpid()}


def test_a_wrong_word_changes_neither_direction():
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        kept = hand.session.engine(number).entry
        with pytest.raises(InvalidParams):
            hand.call(
                engine.SetSyscalls(
                    engine=number, entry=engine.CallFilter(set=()), exit=engine.CallFilter(set=("nothing",))
                )
            )
        assert hand.session.engine(number).entry is kept


def test_an_event_may_hold_until_it_is_resumed():
    with target(make_calls(1)) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events={"syscall_entry": "hold"})).engine
        hand.call(engine.SetSyscalls(engine=number, entry=engine.CallFilter(set=("getppid",))))
        found.go()
        entry = hand.wait_for(events.SyscallEntry)
        assert (entry.name, entry.held) == ("getppid", True)
        assert not found.said(b"done")
        hand.call(thread.Resume(engine=number))
        hand.until(lambda: found.said(b"done"))
