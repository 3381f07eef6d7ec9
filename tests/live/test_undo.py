"""However a session ends, everything it did is undone."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.children import child
from tests.live.conftest import Programs
from tests.live.counters import counting
from tests.live.listening import Listener, told
from tests.live.machine import free, state, tracer, until, wait_end
from tests.worker.daemon import listening
from utracectl.client import Client, ConnectionEnded, client_of
from utracectl.connect import start_worker
from utraced.api import engine, events, thread, trace

CLIENT = r"""
import os, signal, sys
from utracectl.connect import start_worker
from utracectl.client import client_of
from utraced.api import engine, trace
link = start_worker()
client = client_of(link)
pid = int(sys.argv[1])
client.call(trace.Start(pid=pid, follow=True, backend="ptrace"))
client.call(engine.Attach(pid=pid, hold=True, follow=True))
if os.fork() == 0:
    os.write(1, b"child %d\n" % os.getpid())
    signal.pause()
os.write(1, b"worker %d\n" % link.worker)
signal.pause()
"""
"""A client whose child keeps the socket open."""


@contextmanager
def connected() -> Iterator[tuple[Client, int]]:
    """Give a client and its worker, which is reaped at the end whoever has ended it."""
    link = start_worker()
    assert link.worker is not None
    with client_of(link) as client:
        yield client, link.worker
    wait_end(link.worker)
    os.waitpid(link.worker, 0)


def start_all(client: Client, pid: int) -> None:
    """Do all that there is to be undone: a trace, an engine that holds, and one that is told of everything."""
    client.call(trace.Start(pid=pid, follow=True, backend="ptrace"))
    client.call(engine.Attach(pid=pid, hold=True, follow=True))
    number = client.call(engine.Attach(pid=pid, events=("syscall_entry", "signal", "exit"))).engine
    client.call(thread.Stop(engine=number))


@pytest.mark.parametrize("end", ["close", "sigterm", "sigkill"])
def test_the_end_of_a_session_frees_what_it_held(end: str, programs: Programs, tmp_path: Path) -> None:
    with counting(programs("busy"), tmp_path, 4) as target:
        with connected() as (client, worker):
            start_all(client, target.pid)
            before = target.counters()
            assert tracer(target.pid) == worker
            assert target.counters() == before
            if end == "sigterm":
                os.kill(worker, signal.SIGTERM)
                wait_end(worker)
            elif end == "sigkill":
                os.kill(worker, signal.SIGKILL)
                wait_end(worker)
        target.is_free()


def test_sigterm_tells_the_client_why_before_the_connection_ends(programs: Programs, tmp_path: Path) -> None:
    with counting(programs("busy"), tmp_path, 2) as target:
        with connected() as (client, worker):
            number = client.call(engine.Attach(pid=target.pid)).engine
            os.kill(worker, signal.SIGTERM)
            assert Listener(client).hear(events.Detached, engine=number).reason == "daemon_stopping"
            with pytest.raises(ConnectionEnded):
                for _ in client.events():
                    pass
        target.is_free()


def test_a_killed_clients_child_that_keeps_the_socket_keeps_nothing_else(programs: Programs, tmp_path: Path) -> None:
    with counting(programs("busy"), tmp_path, 4) as target:
        with Popen([sys.executable, "-c", CLIENT, str(target.pid)], stdout=PIPE) as client:
            assert client.stdout is not None
            child, worker = 0, 0
            try:
                found = dict(client.stdout.readline().split() for _ in range(2))
                child, worker = int(found[b"child"]), int(found[b"worker"])
                assert tracer(target.pid) == worker
                client.kill()
                client.wait()
                wait_end(worker)
                assert state(child) == "S"
            finally:
                client.kill()
                if child:
                    os.kill(child, signal.SIGKILL)
        target.is_free()


def test_a_session_that_ends_at_a_held_signal_delivers_it(programs: Programs) -> None:
    with told(programs("told"), "signal") as target:
        with connected() as (client, _):
            client.call(engine.Attach(pid=target.pid, events={"signal": "hold"}))
            target.go()
            Listener(client).hear(events.Signal, held=True)
        assert [target.says(), target.says()] == ["handled", "done"]
        assert target.end() == 0


def test_a_session_that_ends_between_steps_leaves_no_trap(programs: Programs) -> None:
    for steps in range(12):
        with told(programs("told"), "call") as target:
            with connected() as (client, _):
                number = client.call(engine.Attach(pid=target.pid, hold=True)).engine
                target.go()
                heard = Listener(client)
                for _ in range(steps):
                    client.call(thread.Resume(engine=number, action="step"))
                    heard.hear(events.Step)
                client.call(thread.Resume(engine=number, action="step" if steps % 2 else "syscall"))
            assert target.says() == "done"
            assert target.end() == 0


def test_a_stopped_process_is_left_stopped_by_a_session_that_ends(programs: Programs) -> None:
    with told(programs("told"), "stop") as target:
        with connected() as (client, _):
            client.call(engine.Attach(pid=target.pid, events=("job_control",)))
            target.go()
            Listener(client).hear(events.JobControl, state="stopped")
        until(lambda: tracer(target.pid) == 0 and state(target.pid) == "T", "left stopped")
        os.kill(target.pid, signal.SIGCONT)
        assert target.says() == "done"
        assert target.end() == 0


def test_children_born_at_the_end_of_a_session_are_free(programs: Programs) -> None:
    for wanted in (1, 5, 50):
        with Popen([programs("burst"), "300"], stdin=PIPE, stdout=PIPE) as target:
            with connected() as (client, _):
                client.call(engine.Attach(pid=target.pid, follow=True, events=("clone",)))
                assert target.stdin is not None
                target.stdin.close()
                heard = Listener(client)
                for _ in range(wanted):
                    heard.hear(events.Clone)
            until(lambda: free(target.pid), "free")
            assert target.wait(30) == 7


@contextmanager
def ending(how: str) -> Iterator[Client]:
    """Give a client whose session is then ended: by detaching, hanging up, or a signal to its worker."""
    with connected() as (client, worker):
        yield client
        if how == "detach":
            for each in client.call(engine.List()).engines:
                client.call(engine.Detach(engine=each.engine))
        elif how != "close":
            os.kill(worker, signal.Signals[how])
            wait_end(worker)


ENDS = pytest.mark.parametrize("how", ["detach", "close", "SIGTERM", "SIGKILL"])


@ENDS
def test_a_vfork_parent_and_its_held_child_are_both_freed(how: str, programs: Programs) -> None:
    with told(programs("told"), "vfork") as target:
        with ending(how) as client:
            number = client.call(engine.Attach(pid=target.pid, hold=True, follow=True)).engine
            client.call(thread.Resume(engine=number))
            target.go()
            clone = Listener(client).hear(events.Clone, how="vfork")
            # Its parent waits for the child, and cannot be stopped.
            (parent,) = client.call(thread.Stop(engine=number)).threads
            assert (parent.tid, parent.state) == (target.pid, "pending")
            assert clone.child_engine is not None
            (child,) = client.call(engine.Info(engine=clone.child_engine)).threads
            assert child.state == "held"
        assert target.says() == "done"
        until(lambda: free(target.pid), "free")
        assert target.end() == 0


@pytest.mark.parametrize("how", ["detach", "close", "SIGTERM"])
def test_a_signal_keeps_what_it_says_when_it_is_delivered_at_the_end(how: str, programs: Programs) -> None:
    with told(programs("told"), "value") as target:
        with ending(how) as client:
            client.call(engine.Attach(pid=target.pid, events={"signal": "hold"}))
            target.go()
            Listener(client).hear(events.Signal, held=True)
        assert [target.says(), target.says(), target.says()] == ["-1", "42", "done"]
        assert target.end() == 0


@pytest.mark.parametrize("signals", [1, 5])
def test_signals_sent_while_a_thread_is_held_are_neither_lost_nor_doubled(signals: int, programs: Programs) -> None:
    with told(programs("told"), "call") as target:
        with connected() as (client, _):
            client.call(engine.Attach(pid=target.pid, hold=True))
            # An ordinary signal waits once, however often it is sent (signal(7)).
            for _ in range(signals):
                os.kill(target.pid, signal.SIGUSR1)
            os.kill(target.pid, signal.SIGUSR2)
        assert {target.says(), target.says()} == {"handled", "other"}
        target.go()
        assert target.says() == "done"
        assert target.end() == 0


@ENDS
@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_process_stopped_before_it_was_traced_stays_stopped(how: str, stop: signal.Signals) -> None:
    with child(os.setpgrp if stop is signal.SIGTSTP else lambda: None) as pid:
        os.kill(pid, stop)
        until(lambda: state(pid) == "T", "stopped")
        with ending(how) as client:
            number = client.call(engine.Attach(pid=pid, hold=True, events=("job_control",))).engine
            client.call(thread.Resume(engine=number))
            client.call(thread.Stop(engine=number))
        until(lambda: tracer(pid) == 0 and state(pid) == "T", "left stopped")
        os.kill(pid, signal.SIGCONT)
        until(lambda: state(pid) == "S", "going on")


@ENDS
def test_a_process_stopped_while_it_is_held_is_left_stopped(how: str) -> None:
    with child() as pid:
        with ending(how) as client:
            client.call(engine.Attach(pid=pid, hold=True))
            os.kill(pid, signal.SIGSTOP)
        until(lambda: tracer(pid) == 0 and state(pid) == "T", "stopped")
        os.kill(pid, signal.SIGCONT)
        until(lambda: state(pid) == "S", "going on")


@ENDS
def test_a_process_continued_while_it_is_held_goes_on(how: str) -> None:
    with child() as pid:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", "stopped")
        with ending(how) as client:
            client.call(engine.Attach(pid=pid, hold=True))
            os.kill(pid, signal.SIGCONT)
            assert state(pid) == "t"
        until(lambda: tracer(pid) == 0 and state(pid) == "S", "going on")


WITHOUT_US = {"nanosleep": "0", "poll": "0", "select": "0", "futex": str(-errno.ETIMEDOUT)}


@pytest.mark.parametrize("call", WITHOUT_US)
def test_calls_that_are_interrupted_are_made_again(call: str, programs: Programs) -> None:
    with told(programs("told"), call) as target:
        with connected() as (client, _):
            number = client.call(engine.Attach(pid=target.pid)).engine
            target.go()
            until(lambda: in_call(target.pid, call), "the call")
            for _ in range(5):
                client.call(thread.Stop(engine=number))
                client.call(thread.Resume(engine=number))
            client.call(thread.Stop(engine=number))
        assert [target.says(), target.says()] == [WITHOUT_US[call], "done"]
        assert target.end() == 0


def test_a_few_calls_linux_does_not_make_again(programs: Programs) -> None:
    with told(programs("told"), "epoll") as target:
        with connected() as (client, _):
            number = client.call(engine.Attach(pid=target.pid)).engine
            target.go()
            until(lambda: in_call(target.pid, "epoll"), "the call")
            client.call(thread.Stop(engine=number))
        # As thread.stop's description says.
        assert [target.says(), target.says()] == [str(-errno.EINTR), "done"]
        assert target.end() == 0


NUMBERS = {"nanosleep": {35, 230}, "poll": {7}, "select": {23, 270}, "futex": {202}, "epoll": {232}}


def in_call(pid: int, call: str) -> bool:
    """Tell whether a process is in a system call, as /proc/PID/syscall says."""
    word = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return word.isdecimal() and int(word) in NUMBERS[call]


def test_a_client_that_stops_reading_holds_nothing_for_ever(programs: Programs, tmp_path: Path) -> None:
    configuration = tmp_path / "utraced.toml"
    configuration.write_text("[limits]\nstall_seconds = 1\nqueue_bytes = 262144\n")
    with (
        counting(programs("busy"), tmp_path, 4) as target,
        listening(tmp_path / "socket", "--config", configuration),
        Popen([sys.executable, "-c", STOPPED, tmp_path / "socket", str(target.pid)], stdout=PIPE) as client,
    ):
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == b"holds\n"
            until(lambda: state(client.pid) == "T", "the client is stopped")
            target.is_free()
        finally:
            client.kill()


STOPPED = """
import os, signal, socket, sys
from utracectl.client import Client
from utraced.api import engine, thread, trace
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(sys.argv[1])
sock.setblocking(False)
client = Client(sock)
pid = int(sys.argv[2])
number = client.call(engine.Attach(pid=pid, hold=True, events=("syscall_entry", "syscall_exit"))).engine
held = client.call(engine.Attach(pid=pid)).engine
client.call(thread.Stop(engine=held, tid=pid))
client.call(thread.Resume(engine=number))
os.write(1, b"holds\\n")
os.kill(os.getpid(), signal.SIGSTOP)
"""
"""A client that holds one thread of a process, is told all calls of the others, and stops."""
