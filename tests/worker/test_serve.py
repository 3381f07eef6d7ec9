import os
import signal
import socket

import pytest

from tests.children import child, fork
from tests.kernel.targets import end_thread, make_calls, spin, target, threads_then
from tests.live.machine import free, state, tracer, until, wait_end
from tests.worker.embedded import client, embedded, request
from utracectl.client import ConnectionEnded
from utraced.api import daemon, engine, events, thread, trace


def test_hanging_up_undoes_everything():
    with child() as one, target(spin) as two:
        two.go()
        two.hear(b"spinning")
        with client() as link:
            link.call(engine.Attach(pid=one, hold=True))
            link.call(trace.Start(pid=two.pid, backend="ptrace"))
            assert state(one) == "t"
        assert free(one)
        assert free(two.pid)


def test_sigterm_undoes_everything_and_says_so():
    with child() as pid, embedded() as wire:
        number = wire.ask(1, "engine.attach", pid=pid, hold=True)["result"]["engine"]
        os.kill(wire.worker, signal.SIGTERM)
        event = wire.until(lambda message: message.get("method") == "event")["params"]
        assert (event["kind"], event["reason"], event["engine"]) == ("detached", "daemon_stopping", number)
        assert wire.receive() is None
        wait_end(wire.worker)
        assert free(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_of_the_terminal_are_not_for_the_worker(number):
    with client() as link:
        pid = link.call(daemon.Hello()).tracer_pid
        os.kill(pid, number)
        assert link.call(daemon.Hello()).tracer_pid == pid


def test_a_dead_client_is_noticed_though_its_child_keeps_the_socket():
    with child() as traced:
        reading, writing = os.pipe()
        first = fork()
        if first == 0:
            keeper = 0
            with embedded() as wire:
                wire.ask(1, "engine.attach", pid=traced, hold=True)
                keeper = fork()
                if keeper == 0:
                    signal.pause()
                os.write(writing, f"{keeper} {wire.worker}\n".encode())
                os._exit(0)
        os.close(writing)
        with open(reading) as file:
            keeper, worker = map(int, file.readline().split())
        os.waitpid(first, 0)
        try:
            wait_end(worker)
            assert free(traced)
        finally:
            os.kill(keeper, signal.SIGKILL)


def test_a_client_that_has_ended_before_the_worker_starts():
    """It must not cost a traceback on the terminal they shared."""
    gate, go = os.pipe()
    reading, writing = os.pipe()
    first = fork()
    if first == 0:
        _ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if fork() == 0:
            serve_late(theirs, gate, go, writing)
        os._exit(0)
    os.close(writing)
    os.close(gate)
    os.waitpid(first, 0)
    os.close(go)
    with open(reading) as file:
        assert file.read() == ""


def serve_late(sock, gate, go, errors):
    """Be a worker that starts when the gate is closed."""
    from utraced.worker.serve import serve_embedded

    try:
        os.dup2(errors, 2)
        os.close(go)
        os.read(gate, 1)
        serve_embedded(sock.detach(), lambda: None)
    except BaseException as error:
        os.write(2, repr(error).encode())
    finally:
        os._exit(0)


def test_a_leader_that_has_ended_does_not_delay_the_end():
    with target(threads_then(1, lambda _: end_thread())) as found:
        with client() as link:
            link.call(engine.Attach(pid=found.pid, events=("death",)))
            found.go()
            found.hear(b"started")
            until(lambda: state(found.pid) == "Z", "the leader's end")
            pid = link.call(daemon.Hello()).tracer_pid
        wait_end(pid)
        assert all(tracer(found.pid, int(tid)) == 0 for tid in os.listdir(f"/proc/{found.pid}/task"))


def test_observations_reach_a_client_that_asks_for_nothing():
    with target(make_calls(3)) as found, client() as link:
        link.call(trace.Start(pid=found.pid, syscalls=("getppid",), backend="ptrace"))
        found.go()
        told = []
        while len(told) < 3:
            told += [event for event in link.poll(20) if isinstance(event, events.Syscall)]
        assert {event.name for event in told} == {"getppid"}


def test_the_entry_of_a_call_that_lasts_is_told_meanwhile():
    with target() as found, client() as link:
        link.call(trace.Start(pid=found.pid, entries=True, backend="ptrace"))
        # It waits in read(2) since before the trace: so a signal makes it enter the call anew.
        os.kill(found.pid, signal.SIGSTOP)
        os.kill(found.pid, signal.SIGCONT)
        told = []
        while not any(isinstance(event, events.SyscallEntry) for event in told):
            told += link.poll(20)


def test_requests_are_answered_while_targets_flood():
    with target(spin) as one, target(spin) as two, embedded() as wire:
        for number, found in enumerate((one, two)):
            found.go()
            found.hear(b"spinning")
            wire.ask(number, "trace.start", pid=found.pid, backend="ptrace")
        told = 0
        for number in range(10, 60):
            wire.send(request(number, "daemon.hello"))
            packets = len(wire.received)
            wire.answer(number)
            told = max(told, len(wire.received) - packets)
        # Of what stood in the stream already there is a socket's buffer full, and never much more.
        assert told < 200


def test_events_that_hold_are_never_lost():
    count = 300

    def act(side):
        signal.signal(signal.SIGUSR1, lambda *_: None)
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGUSR1)
        side.say(b"done")

    with target(act) as found, client() as link:
        number = link.call(engine.Attach(pid=found.pid, events={"signal": "hold"})).engine
        found.go()
        told = 0
        while told < count:
            for event in link.poll(20):
                if isinstance(event, events.Signal):
                    told += 1
                    assert event.held
                    link.call(thread.Resume(engine=number, tid=found.pid))
        found.hear(b"done")


def test_a_target_that_ends_ends_its_engines():
    with target(lambda _: 3) as found, client() as link:
        link.call(engine.Attach(pid=found.pid, events=("death",)))
        found.go()
        told = []
        while not told or told[-1].__class__ is not events.Detached:
            told += link.poll(20)
        assert [type(event) for event in told] == [events.Death, events.Detached]
        assert told[0].status.code == 3
        assert told[1].reason == "target_exited"
        assert link.call(engine.List()).engines == ()
        os.kill(link.call(daemon.Hello()).tracer_pid, signal.SIGTERM)
        with pytest.raises(ConnectionEnded):
            list(link.events())
