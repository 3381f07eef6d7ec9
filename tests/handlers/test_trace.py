import os
import signal

import pytest

from tests.kernel.by_hand import by_hand
from tests.kernel.targets import make_calls, target
from tests.live.machine import free
from utraced.api import engine, events, trace
from utraced.errors import Gone, InvalidParams, NoSuchObject, Unsupported


def start(hand, found, *calls, **options):
    return hand.call(trace.Start(pid=found.pid, syscalls=calls or None, **options)).trace


def test_calls_are_told_whole_and_counted():
    with target(make_calls(5)) as found, by_hand() as hand:
        number = start(hand, found, "getppid")
        found.go()
        hand.until(lambda: found.said(b"done"))
        assert hand.call(trace.Stop(trace=number)) == trace.Totals(delivered=5, lost=0)
        assert hand.kinds() == ["syscall"] * 5 + ["detached"]
        first, *_, detached = hand.seen
        assert (first.name, first.result, first.errno, first.trace, first.engine) == (
            "getppid",
            os.getpid(),
            None,
            number,
            None,
        )
        assert first.time_ns == first.start_ns + first.duration_ns
        assert (detached.reason, detached.delivered, detached.lost) == ("client_request", 5, 0)
        hand.until(lambda: free(found.pid))
        for gone in (number, number):
            with pytest.raises(Gone):
                hand.call(trace.Stop(trace=gone))
        with pytest.raises(NoSuchObject):
            hand.call(trace.Stop(trace=99))


def test_strings_are_told_as_long_as_asked_for_and_paths_whole():
    def act(side):
        os.access("/a/b/c/d", 0)
        side.say(b"abcdefgh")

    with target(act) as found, by_hand() as hand:
        start(hand, found, "access", "write", strings=4)
        found.go()
        hand.ended(found.pid)
        path, text = (next(iter(event.strings.values())) for event in hand.told(events.Syscall))
        assert (path.text, path.truncated) == ("/a/b/c/d", False)
        assert (text.text, text.truncated) == ("abcd", True)
        assert hand.told(events.Syscall)[0].errno == "ENOENT"


def test_only_failed_calls():
    def act(_):
        os.getppid()
        os.access("/nowhere", 0)

    with target(act) as found, by_hand() as hand:
        start(hand, found, "getppid", "%file", failed_only=True)
        found.go()
        hand.ended(found.pid)
        told = hand.told(events.Syscall)
        assert told
        assert all(event.errno for event in told)


def test_nothing_is_told_before_the_exec_where_that_is_asked_for():
    def act(_):
        os.getppid()
        os.execv("/bin/true", ["true"])

    with target(act) as found, by_hand() as hand:
        start(hand, found, from_exec=True)
        found.go()
        hand.ended(found.pid)
        names = [event.name for event in hand.told(events.Syscall)]
        assert names[0] == "execve"
        assert "getppid" not in names


def test_one_trace_follows_the_whole_tree():
    def act(_):
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                os.getppid()
                os._exit(0)
            os.waitpid(pid, 0)

    with target(act) as found, by_hand() as hand:
        number = start(hand, found, "getppid", follow=True)
        found.go()
        hand.until(lambda: not hand.core.tracees)
        hand.events()
        assert len({event.pid for event in hand.told(events.Syscall)}) == 3
        assert {event.trace for event in hand.seen} == {number}
        assert len(hand.told(events.Detached)) == 1
        assert hand.seen[-1].reason == "target_exited"
        assert len(hand.told(events.Death)) == 4


def test_what_does_not_return_is_told_unfinished():
    with target(lambda _: signal.pause()) as found, by_hand() as hand:
        number = start(hand, found, "pause", entries=True)
        found.go()
        hand.until(hand.core.waiting_entries)
        hand.call(trace.Stop(trace=number))
        assert hand.told(events.Syscall)[-1].unfinished


def test_an_engine_and_a_trace_have_ids_of_one_kind():
    with target() as found, by_hand() as hand:
        traced = start(hand, found)
        attached = hand.call(engine.Attach(pid=found.pid)).engine
        assert attached == traced + 1
        for wrong in (engine.Detach(engine=traced), trace.Stop(trace=attached)):
            # It is there, but is no such thing.
            with pytest.raises(NoSuchObject):
                hand.call(wrong)


@pytest.mark.parametrize(
    ("options", "feature"),
    [
        ({"backend": "kernel"}, "backend.kernel"),
        ({"deliver": "raw", "backend": "ptrace"}, "trace.raw"),
        ({"deliver": "raw", "backend": "seccomp", "follow": True, "from_exec": True}, "trace.raw"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_done(options, feature):
    with target() as found, by_hand() as hand:
        with pytest.raises(Unsupported) as caught:
            start(hand, found, **options)
        assert caught.value.data["feature"] == feature
        assert free(found.pid)


def test_a_wrong_word_starts_nothing():
    with target() as found, by_hand() as hand:
        with pytest.raises(InvalidParams):
            start(hand, found, "nothing")
        assert hand.session.traces == {}
        assert free(found.pid)
