import os
import signal

import pytest

from tests.children import child, isolated
from tests.kernel.by_hand import by_hand, finish
from tests.kernel.targets import end_thread, target, threads_then
from tests.live.machine import free, state, tracer, until
from utraced.api import engine, events, thread, trace
from utraced.errors import LimitExceeded, PermissionDenied, TimedOut
from utraced.handlers import attaching


def slow_parent(path):
    """Return an act: be in uninterruptible sleep, as a vfork parent whose child waits to open a FIFO."""

    def act(side):
        side.say(b"forking")
        actions = [(os.POSIX_SPAWN_OPEN, 0, path, os.O_RDONLY, 0)]
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}, file_actions=actions), 0)
        side.say(b"done")
        side.wait()

    return act


@pytest.fixture
def asleep(tmp_path):
    """A target in uninterruptible sleep, and what wakes it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def wake():
        os.close(os.open(fifo, os.O_WRONLY))

    with target(slow_parent(str(fifo))) as found:
        found.go()
        found.hear(b"forking")
        until(lambda: state(found.pid) == "D", "uninterruptible sleep")
        yield found, wake


def test_who_is_in_uninterruptible_sleep_is_not_waited_for_and_told_when_it_stops(asleep):
    found, wake = asleep
    with by_hand() as hand:
        attached = hand.call(engine.Attach(pid=found.pid, hold=True))
        assert [each.state for each in attached.threads] == ["pending"]
        wake()
        stop = hand.wait_for(events.Stop)
        assert (stop.why, stop.held, stop.engine, stop.tid) == ("attached", True, attached.engine, found.pid)
        hand.call(thread.Resume(engine=attached.engine))
        hand.until(lambda: found.said(b"done"))


def test_a_trace_of_who_sleeps_starts_all_the_same(asleep):
    found, wake = asleep
    with by_hand() as hand:
        started = hand.call(trace.Start(pid=found.pid))
        wake()
        hand.until(lambda: found.said(b"done"))
        assert "wait4" in {event.name for event in hand.told(events.Syscall)}
        hand.call(trace.Stop(trace=started.trace))


def test_a_wait_ends_with_its_time(asleep, monkeypatch):
    found, wake = asleep
    with by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        monkeypatch.setattr(hand.tracer, "wait_over", lambda _: False)
        with pytest.raises(TimedOut):
            hand.call(thread.Stop(engine=number, timeout_ms=100))
        monkeypatch.undo()
        assert not hand.core.waiters
        wake()
        # It is held as soon as it can be, and told by an event.
        assert hand.wait_for(events.Stop).why == "requested"


def test_a_process_that_ends_while_it_is_waited_for():
    with target() as found, by_hand() as hand:
        waiting = hand.start(engine.Attach(pid=found.pid, hold=True))
        os.kill(found.pid, 9)
        until(lambda: state(found.pid) in {"Z", "X", ""}, "the end of the process")
        assert finish(waiting).threads == ()
        hand.events()
        assert hand.told(events.Detached)[0].reason == "target_exited"


def test_a_leader_that_ends_while_it_is_waited_for():
    with target(threads_then(1, lambda _: end_thread())) as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid, events=("death",))).engine
        found.go()
        hand.until(lambda: state(found.pid) == "Z")
        again = hand.call(engine.Attach(pid=found.pid, hold=True))
        assert [each.state for each in again.threads if each.tid != found.pid] == ["held"]
        assert number != again.engine


def test_a_client_cannot_trace_itself():
    with by_hand() as hand, pytest.raises(PermissionDenied) as caught:
        hand.call(engine.Attach(pid=os.getpid()))
    assert caught.value.reason == "would_deadlock"
    assert tracer(os.getpid()) == 0


def test_a_session_has_a_number_of_engines(monkeypatch):
    monkeypatch.setattr(attaching, "MAX_ENGINES", 2)
    with child() as pid, by_hand() as hand:
        number = hand.call(engine.Attach(pid=pid)).engine
        hand.call(trace.Start(pid=pid))
        for method in (engine.Attach(pid=pid), trace.Start(pid=pid)):
            with pytest.raises(LimitExceeded) as caught:
                hand.call(method)
            assert caught.value.data == {"limit": "engines", "value": 2}
        hand.call(engine.Detach(engine=number))
        hand.call(engine.Attach(pid=pid))


def abandon(hand, method):
    """Start a request and cancel it while it waits."""
    steps = hand.start(method)
    hand.over = None  # it is not to get so far
    with pytest.raises(TypeError):
        finish(steps)
    hand.tracer.perform()


@pytest.mark.parametrize("method", [engine.Attach, trace.Start])
def test_what_is_not_waited_for_to_the_end_is_undone(method):
    with target() as found, by_hand() as hand:
        abandon(hand, method(pid=found.pid))
        assert hand.session.engines == {}
        assert hand.session.traces == {}
        hand.until(lambda: free(found.pid))
        assert not hand.core.waiters


def test_a_stop_that_is_not_waited_for_to_the_end_is_told_by_an_event(monkeypatch):
    monkeypatch.setattr(attaching, "SOON_NS", 0)
    with target() as found, by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        abandon(hand, thread.Stop(engine=number))
        assert hand.wait_for(events.Stop).why == "requested"


def test_threads_that_stop_soon_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(attaching, "SOON_NS", 10**10)

    def stop(pid):
        # As in a worker no thread of this process takes the signal from who asks for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        with by_hand() as hand:
            number = hand.call(engine.Attach(pid=pid)).engine
            states = []
            for _ in range(3):
                stopped = hand.start(thread.Stop(engine=number))
                states += [each.state for each in stopped.threads]
                hand.call(thread.Resume(engine=number))
            return states

    with target(threads_then(2)) as found:
        found.go()
        found.hear(b"started")
        assert isolated(lambda: stop(found.pid)) == ["held"] * 9


def test_those_that_do_not_are_waited_for_in_turn(asleep, monkeypatch):
    monkeypatch.setattr(attaching, "SOON_NS", 0)
    found, wake = asleep
    with by_hand() as hand:
        number = hand.call(engine.Attach(pid=found.pid)).engine
        waiting = hand.start(thread.Stop(engine=number))
        assert [each.state for each in finish(waiting).threads] == ["pending"]
        wake()
