"""However a session ends, everything it did is undone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.live.conftest import Programs
from tests.live.counters import counting
from tests.live.listening import Listener, told
from tests.live.machine import free, state, tracer, until, wait_end
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
client.call(trace.Start(pid=pid, follow=True))
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
    client.call(trace.Start(pid=pid, follow=True))
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
