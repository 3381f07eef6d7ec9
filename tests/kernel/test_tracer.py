import os
import signal
import threading

import pytest

from tests.children import NOBODY, become, ended, isolated, libc, needs_root, zombie
from tests.kernel.by_hand import by_hand, finish
from tests.kernel.targets import end_thread, make_calls, spin, target, threads_then
from tests.live.machine import free, state, threads, tracer, until
from utraced.api import engine, events, thread, trace
from utraced.errors import LimitExceeded, NoSuchProcess, NotHeld, PermissionDenied
from utraced.kernel import tracer as module
from utraced.kernel.tracer import Tracer


def attach(hand, found, **options):
    return hand.call(engine.Attach(pid=found.pid, **options)).engine


def test_a_round_without_tracees_is_empty():
    with by_hand() as hand:
        assert hand.tracer.round() == 0


def test_a_round_acts_once_on_each_thread_that_has_stopped():
    with target(threads_then(3)) as found, by_hand() as hand:
        found.go()
        found.hear(b"started")
        waiting = hand.start(engine.Attach(pid=found.pid, hold=True))
        until(lambda: all(state(found.pid, tid) == "t" for tid in threads(found.pid)), "all interrupted")
        assert hand.tracer.round() == 4
        assert hand.tracer.round() == 0
        assert len(finish(waiting).threads) == 4


def test_all_threads_are_attached_and_let_go():
    with target(threads_then(5)) as found, by_hand() as hand:
        found.go()
        found.hear(b"started")
        number = attach(hand, found, hold=True)
        assert {tracer(found.pid, tid) for tid in threads(found.pid)} == {os.getpid()}
        assert {state(found.pid, tid) for tid in threads(found.pid)} == {"t"}
        hand.call(engine.Detach(engine=number))
        hand.ended(found.pid)
        assert free(found.pid)


def test_more_threads_than_may_be_traced_are_not_attached():
    with target(threads_then(3)) as found, target() as other, by_hand(tracees=4) as hand:
        found.go()
        found.hear(b"started")
        number = attach(hand, other)
        with pytest.raises(LimitExceeded) as caught:
            attach(hand, found)
        assert caught.value.data == {"limit": "tracees", "value": 4}
        assert free(found.pid)
        attach(hand, other)  # it is traced already
        assert len(hand.core.tracees) == 1
        for engine_ in list(hand.session.engines):
            hand.call(engine.Detach(engine=engine_))
        hand.ended(other.pid)
        assert number != attach(hand, found)
        assert len(hand.core.tracees) == 4


def test_a_child_beyond_those_that_may_be_traced_runs_on_untraced():
    with target(fork_and_wait) as found, by_hand(tracees=1) as hand:
        attach(hand, found, follow=True, events=())
        found.go()
        told = hand.wait_for(events.Clone)
        assert (told.untraced, told.child_engine) == ("limit_exceeded", None)
        hand.until(lambda: tracer(told.child_pid) == 0, "the child is let go")
        assert list(hand.core.tracees) == [found.pid]
        hand.until(lambda: found.said(b"done"), "its end")


def fork_and_wait(side):
    """Fork a child, and say so when it has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    side.say(b"done")
    side.wait()


def test_a_process_attached_twice_is_one():
    with target() as found, by_hand() as hand:
        first = attach(hand, found, hold=True)
        second = attach(hand, found, hold=True)
        assert hand.session.engine(first).process is hand.session.engine(second).process
        hand.call(thread.Resume(engine=first))
        assert state(found.pid) == "t"
        hand.call(thread.Resume(engine=second))
        assert state(found.pid) != "t"


def test_letting_go_and_attaching_at_once():
    with target(spin) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        for _ in range(20):
            number = attach(hand, found)
            hand.call(engine.Detach(engine=number))
        hand.ended(found.pid)
        assert free(found.pid)


@pytest.mark.parametrize("who", [ended, lambda: 1 << 21], ids=["ended", "never"])
def test_nobody_is_there(who):
    with by_hand() as hand:
        with pytest.raises(NoSuchProcess):
            hand.tracer.attach(who())
        assert not hand.core.processes


def test_who_has_its_pid_now_is_let_go():
    with target(spin) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        with pytest.raises(NoSuchProcess, match="belongs to another"):
            hand.tracer.attach(found.pid, 1)
        hand.until(lambda: free(found.pid))
        assert attach(hand, found)


def test_a_zombie_cannot_be_attached():
    with zombie() as pid:

        def refused():
            with by_hand() as hand, pytest.raises(NoSuchProcess, match="ended"):
                hand.tracer.attach(pid)

        isolated(refused)


def test_a_process_traced_by_another_stays_so():
    with target() as found:

        def other_traces():
            with by_hand() as hand:
                attach(hand, found)
                with pytest.raises(PermissionDenied) as caught:
                    isolated_attach(found.pid)
                return str(caught.value)

        def isolated_attach(pid):
            reason, number = isolated(lambda: refusal(pid))
            assert reason == "traced_by_other"
            assert number == os.getpid()
            raise PermissionDenied("as told", reason=reason)

        isolated(other_traces)
        assert free(found.pid)


def refusal(pid):
    """Return the reason of a refusal, and the tracer's pid where there is one; nothing stays attached."""
    tracer = Tracer(lambda _: None)
    with pytest.raises(PermissionDenied) as caught:
        tracer.attach(pid)
    while tracer.core.tracees:
        tracer.round()
    assert not tracer.core.processes
    assert not any(line.startswith("/proc/") and line.endswith("/mem") for line in descriptors())
    return caught.value.reason, (caught.value.data.get("tracer") or {}).get("pid")


def descriptors():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return found


@needs_root
def test_where_one_thread_refuses_all_are_let_go():
    def act(side):
        ready, never = threading.Event(), threading.Event()

        def root():
            ready.set()
            never.wait()

        threading.Thread(target=root, daemon=True).start()
        ready.wait()
        # The raw calls change the calling thread alone.
        libc().syscall(116, 0, None)
        libc().syscall(119, NOBODY, NOBODY, NOBODY)
        libc().syscall(117, NOBODY, NOBODY, NOBODY)
        libc().prctl(4, 1, 0, 0, 0)
        side.say(b"mixed")
        side.wait()

    with target(act) as found:
        found.go()
        found.hear(b"mixed")

        def ask():
            become(NOBODY)
            seized = []
            seize = module.ptrace.seize

            def noted(tid, **options):
                seize(tid, **options)
                seized.append(tid)

            module.ptrace.seize = noted
            return refusal(found.pid), seized

        _, seized = isolated(ask)
        assert seized == [found.pid]
        assert free(found.pid)


def test_threads_that_are_born_while_all_are_seized():
    def churn(side):
        side.say(b"spinning")
        while True:
            one = threading.Thread(target=os.getppid)
            one.start()
            one.join()

    with target(churn) as found, by_hand() as hand:
        found.go()
        found.hear(b"spinning")
        for _ in range(10):
            number = attach(hand, found, hold=True)
            assert {state(found.pid, tid) for tid in threads(found.pid)} <= {"t", "Z", "X", ""}
            hand.call(engine.Detach(engine=number))
            hand.ended(found.pid)
            assert free(found.pid)


def test_an_exec_by_another_thread_while_being_attached():
    def act(side):
        threading.Thread(target=os.execv, args=("/bin/cat", ["cat"])).start()
        side.wait()

    for _ in range(10):
        with target(act) as found, by_hand() as hand:
            found.go()
            number = attach(hand, found, hold=True)
            assert hand.call(engine.Info(engine=number)).threads
            assert {state(found.pid, tid) for tid in threads(found.pid)} <= {"t", "Z", "X", ""}


@pytest.mark.parametrize("mask", [("exit", "death"), ("death",)])
def test_a_leader_that_has_ended_is_waited_for_by_nobody(mask):
    with target(threads_then(1, lambda _: end_thread())) as found, by_hand() as hand:
        number = attach(hand, found, events=mask)
        found.go()
        hand.until(lambda: found.said(b"started") and state(found.pid, found.pid) == "Z", "the leader's end")
        stopped = hand.call(thread.Stop(engine=number)).threads
        assert [each.state for each in stopped if each.tid != found.pid] == ["held"]
        hand.call(thread.Resume(engine=number))
        hand.call(engine.Detach(engine=number))
        hand.until(lambda: all(tracer(found.pid, tid) == 0 for tid in threads(found.pid) if tid != found.pid))


def test_attaching_is_not_held_up_by_the_stops_of_others():
    with target(spin) as one, target(spin) as two, target() as found, by_hand() as hand:
        for busy in (one, two):
            busy.go()
            busy.hear(b"spinning")
            hand.call(trace.Start(pid=busy.pid))
        rounds = []
        ran = hand.tracer.round

        def counted():
            count = ran()
            rounds.append(count)
            return count or 1  # as where others stop all the time

        hand.tracer.round = counted
        waiting = hand.start(engine.Attach(pid=found.pid))
        assert len(rounds) < 100
        hand.tracer.round = ran
        finish(waiting)


def test_a_child_whose_parent_is_killed_before_it_can_tell():
    def act(side):
        pid = os.fork()
        if pid == 0:
            os.close(0)
            signal.pause()
        side.say(b"forked")
        side.wait()

    for position in range(4):
        with target(act) as found, by_hand() as hand:
            hand.call(engine.Attach(pid=found.pid, follow=True, events=("clone", "death")))
            found.go()
            children = f"/proc/{found.pid}/task/{found.pid}/children"
            pids = []

            def born(children=children, pids=pids):
                with open(children) as file:
                    pids[:] = [int(word) for word in file.read().split()]
                return pids

            until(born, "the child")
            for _ in range(position):
                hand.tracer.round()
            os.kill(found.pid, signal.SIGKILL)
            hand.ended(found.pid)
            hand.until(lambda pids=pids: state(pids[0]) == "S", "the child goes on")
            # Its engine follows, or it was let go: it is not both unknown and traced.
            assert (tracer(pids[0]) != 0) == (pids[0] in hand.core.tracees)
            os.kill(pids[0], signal.SIGKILL)
            hand.until(lambda pids=pids: not hand.core.tracees or tracer(pids[0]) == 0)


def test_a_slow_reader_holds_back_what_cannot_be_dropped():
    with target(make_calls(2000)) as found, by_hand(queue_bytes=20_000) as hand:
        started = hand.call(trace.Start(pid=found.pid, syscalls=("getppid",), overflow="block"))
        found.go()
        hand.until(hand.session.congested, "congestion")
        hand.until(lambda: state(found.pid) == "t" and not hand.tracer.round(), "no more stops")
        assert not any(hand.tracer.round() for _ in range(100))
        while not found.said(b"done"):
            hand.events()
            hand.tracer.round()
        assert hand.call(trace.Stop(trace=started.trace)) == trace.Totals(delivered=2000, lost=0)
        assert len(hand.told(events.Syscall)) == 2000
        assert hand.told(events.Lost) == []


def test_a_held_back_target_that_is_killed_is_forgotten():
    with target(make_calls(2000)) as found, by_hand(queue_bytes=20_000) as hand:
        hand.call(trace.Start(pid=found.pid, syscalls=("getppid",), overflow="block"))
        found.go()
        hand.until(hand.session.congested, "congestion")
        os.kill(found.pid, signal.SIGKILL)
        hand.ended(found.pid)
        hand.events()
        assert not hand.session.congested()
        assert hand.told(events.Detached)[0].lost == 0


def test_a_process_that_waits_for_nothing_one_can_interrupt():
    with target() as found, by_hand() as hand:
        assert hand.tracer.wait_over({found.pid}), "it is not ours"
        attach(hand, found)
        assert not hand.tracer.wait_over({found.pid})
    assert Tracer(lambda _: None).wait_over({ended()})


def exec_beside_the_leader(side):
    def execute():
        side.say(b"beside")
        side.wait()
        os.execv("/bin/cat", ["cat"])

    threading.Thread(target=execute).start()
    threading.Event().wait()


def test_an_exec_that_takes_an_ended_leader_s_tid_after_all_was_let_go_is_found_out():
    def act(side):
        def execute():
            side.say(b"beside")
            side.wait()
            os.execv("/bin/cat", ["cat"])

        threading.Thread(target=execute).start()
        end_thread()

    with target(act) as found, by_hand() as hand:
        number = attach(hand, found, events=("exec", "death"))
        found.go()
        hand.until(lambda: found.said(b"beside") and state(found.pid) == "Z", "the leader's end")
        hand.call(engine.Detach(engine=number))
        hand.until(lambda: all(tracer(found.pid, tid) == 0 for tid in threads(found.pid) if tid != found.pid))
        assert found.pid in hand.core.tracees, "it is ours until the others end"
        found.go()
        until(lambda: len(threads(found.pid)) == 1 and state(found.pid) == "S", "the exec")
        assert hand.tracer.wait_over({found.pid})
        number = attach(hand, found, hold=True)
        assert [(each.tid, each.state) for each in hand.call(engine.Info(engine=number)).threads] == [
            (found.pid, "held")
        ]
        assert state(found.pid) == "t"
        hand.call(engine.Detach(engine=number))
        hand.until(lambda: free(found.pid), "it is let go")


@pytest.mark.parametrize("act", ["resume", "stop", "detach", "close"])
def test_an_exec_that_takes_a_held_leader_s_tid_is_heard_of_before_anything_is_done_to_it(act):
    with target(exec_beside_the_leader) as found, by_hand() as hand:
        until(lambda: state(found.pid) == "S", "the target waits")
        number = attach(hand, found, events=("exec", "death"))
        found.go()
        # Both wait: the leader is not held with the interpreter's lock.
        hand.until(lambda: found.said(b"beside") and {state(found.pid, tid) for tid in threads(found.pid)} == {"S"})
        hand.call(thread.Stop(engine=number, tid=found.pid))
        found.go()
        until(lambda: len(threads(found.pid)) == 1 and state(found.pid) == "t", "the exec")
        if act == "resume":
            with pytest.raises(NotHeld):
                hand.call(thread.Resume(engine=number, tid=found.pid))
        elif act == "stop":
            assert [each.state for each in hand.call(thread.Stop(engine=number)).threads] == ["held"]
        elif act == "detach":
            hand.call(engine.Detach(engine=number))
        else:
            hand.session.close("session_closed", 1)
        assert hand.kinds()[:2] == ["death", "exec"]
        if act != "stop":
            hand.until(lambda: state(found.pid) == "S", "it goes on")


def test_a_child_made_for_the_parent_of_its_maker_is_followed():
    def act(side):
        pid = libc().syscall(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)  # clone with CLONE_PARENT
        if pid == 0:
            os._exit(5)
        side.say(b"cloned")
        side.wait()

    for _ in range(10):
        with target(act) as found, by_hand() as hand:
            # The child's parent is this process, which nobody traces.
            hand.call(engine.Attach(pid=found.pid, follow=True))
            found.go()
            clone = hand.wait_for(events.Clone)
            assert clone.child_engine
            death = hand.wait_for(events.Death)
            assert (death.pid, death.status.code) == (clone.child_pid, 5)
