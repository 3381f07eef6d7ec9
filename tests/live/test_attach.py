"""Attaching to what runs, and letting go of it, whatever it does meanwhile and whoever is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from random import Random
from subprocess import PIPE, Popen

import pytest

from tests.children import child, zombie
from tests.live.conftest import Programs
from tests.live.counters import counting
from tests.live.machine import state, threads, tracer, tracing, until, wait_end, worker_of
from utracectl.client import Client
from utraced.api import engine, events, thread, trace
from utraced.errors import Gone, NoSuchProcess, NotHeld


@pytest.fixture
def busy(programs: Programs) -> Path:
    return programs("busy")


def traced(output: Path) -> set[str]:
    """Return the threads of which whole lines are written."""
    return {line.split()[0] for line in output.read_text().split("\n")[:-1]}


def test_thirty_times_trace_and_interrupt_leave_a_busy_process_as_it_was(busy: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with counting(busy, tmp_path, 8) as target:
        for _ in range(30):
            with tracing("-f", "-p", str(target.pid), "-o", output) as utracectl:
                until(lambda: len(traced(output)) == 8, "a line of each thread")
                assert all(tracer(target.pid, tid) for tid in threads(target.pid))
                utracectl.send_signal(signal.SIGINT)
                assert utracectl.wait(30) == 0
            target.is_free()
        assert "getppid()" in output.read_text()


@pytest.mark.parametrize("victim", ["utracectl", "worker"])
def test_a_killed_tracer_leaves_a_busy_process_as_it_was(victim: str, busy: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with counting(busy, tmp_path, 8) as target:
        for _ in range(5):
            with tracing("-f", "-p", str(target.pid), "-o", output) as utracectl:
                worker = worker_of(utracectl.pid)
                until(lambda: output.stat().st_size > 10_000, "a trace of some size")
                os.kill(worker if victim == "worker" else utracectl.pid, signal.SIGKILL)
                utracectl.wait(30)
                wait_end(worker)
            target.is_free()


def test_threads_born_while_attaching_are_traced_too(busy: Path, tmp_path: Path, client: Client) -> None:
    with counting(busy, tmp_path, 4, "churn") as target:
        for _ in range(20):
            attached = client.call(engine.Attach(pid=target.pid, hold=True))
            assert all(each.state == "held" for each in attached.threads)
            until(lambda: all(state(target.pid, tid) in {"t", "Z", "X", ""} for tid in threads(target.pid)), "all held")
            before = target.counters()
            assert {tid for tid in threads(target.pid) if state(target.pid, tid) == "t"} <= {
                each.tid for each in client.call(engine.Info(engine=attached.engine)).threads
            }
            assert target.counters() == before
            client.call(engine.Detach(engine=attached.engine))
            target.is_free()


def test_a_process_without_its_main_thread_is_traced(busy: Path, tmp_path: Path, client: Client) -> None:
    with counting(busy, tmp_path, 2, "leaderless") as target:
        until(lambda: state(target.pid, target.pid) == "Z", "the main thread has ended")
        attached = client.call(engine.Attach(pid=target.pid, hold=True))
        assert len(attached.threads) == 2
        assert all(each.state == "held" for each in attached.threads)
        client.call(engine.Detach(engine=attached.engine))
        target.is_free()
        started = client.call(trace.Start(pid=target.pid, backend="ptrace"))
        while not any(isinstance(event, events.Syscall) for event in client.poll(30)):
            pass
        client.call(trace.Stop(trace=started.trace))
        target.is_free()


def test_a_zombie_is_no_process_to_trace(client: Client) -> None:
    with zombie() as pid, pytest.raises(NoSuchProcess):
        client.call(engine.Attach(pid=pid))


def test_a_stopped_process_stays_stopped_until_it_is_continued(client: Client) -> None:
    with child() as pid:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", "stopped")
        for hold in (False, True):
            attached = client.call(engine.Attach(pid=pid, hold=hold))
            client.call(engine.Detach(engine=attached.engine))
            until(lambda: tracer(pid) == 0 and state(pid) == "T", "detached and stopped")
        started = client.call(trace.Start(pid=pid, backend="ptrace"))
        client.call(trace.Stop(trace=started.trace))
        until(lambda: tracer(pid) == 0 and state(pid) == "T", "detached and stopped")
        os.kill(pid, signal.SIGCONT)
        until(lambda: state(pid) == "S", "continued")


def test_a_stopped_process_can_be_continued_while_it_is_traced(client: Client) -> None:
    with child() as pid:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", "stopped")
        attached = client.call(engine.Attach(pid=pid, events=("job_control",)))
        os.kill(pid, signal.SIGCONT)
        until(lambda: state(pid) == "S", "continued")
        client.call(engine.Detach(engine=attached.engine))
        until(lambda: tracer(pid) == 0 and state(pid) == "S", "detached and going on")


def test_a_thousand_threads_are_attached_and_let_go(busy: Path, tmp_path: Path, client: Client) -> None:
    with counting(busy, tmp_path, 1000, "idle") as target:
        attached = client.call(engine.Attach(pid=target.pid, hold=True))
        assert len(attached.threads) == 1000
        assert all(each.state == "held" for each in attached.threads)
        client.call(engine.Detach(engine=attached.engine))
        target.is_free(only=1)
        started = client.call(trace.Start(pid=target.pid, backend="ptrace"))
        client.call(trace.Stop(trace=started.trace))
        target.is_free(only=1)


def test_two_engines_share_a_process_beside_a_trace(busy: Path, tmp_path: Path, client: Client) -> None:
    with counting(busy, tmp_path, 2) as target:
        started = client.call(trace.Start(pid=target.pid, backend="ptrace"))
        first = client.call(engine.Attach(pid=target.pid, hold=True)).engine
        second = client.call(engine.Attach(pid=target.pid, hold=True)).engine
        client.call(engine.Detach(engine=first))
        before = target.counters()
        states = client.call(engine.Info(engine=second)).threads
        assert [each.state for each in states] == ["held", "held"]
        assert target.counters() == before
        client.call(engine.Detach(engine=second))
        target.works()
        client.call(trace.Stop(trace=started.trace))
        target.is_free()


KILLER = """
import os, sys
for line in sys.stdin:
    pid, spins = map(int, line.split())
    for _ in range(spins):
        pass
    os.kill(pid, 9)
    print(flush=True)
"""


@pytest.mark.parametrize("act", ["hold", "trace"])
def test_a_target_may_be_killed_at_any_moment(act: str, busy: Path, tmp_path: Path, client: Client) -> None:
    random = Random(act)
    killer = Popen([sys.executable, "-c", KILLER], stdin=PIPE, stdout=PIPE)
    assert killer.stdin is not None
    assert killer.stdout is not None
    with killer:
        for _ in range(100):
            with counting(busy, tmp_path, 3) as target:
                killer.stdin.write(b"%d %d\n" % (target.pid, random.randrange(60_000)))
                killer.stdin.flush()
                number = _hold_and_release(client, target.pid) if act == "hold" else _trace(client, target.pid)
                killer.stdout.readline()
                until(lambda: state(target.pid) in {"Z", ""}, "the target is dead")
                if number is not None:
                    _await_end(client, number)
        killer.stdin.close()
        assert killer.wait(30) == 0
    assert client.call(engine.List()).engines == ()


def _ends(event: events.AnyEvent, number: int) -> bool:
    return isinstance(event, events.Detached) and number in {event.engine, event.trace}


def _await_end(client: Client, number: int) -> None:
    """Wait until the end of an engine or trace is told."""
    while found := client.poll(30):
        if any(_ends(event, number) for event in found):
            return
    raise AssertionError("the end was never told")


def _hold_and_release(client: Client, pid: int) -> int | None:
    """Hold, resume and step a process until it ends; return the engine that was made."""
    try:
        number = client.call(engine.Attach(pid=pid, hold=True, events=("exit", "death", "signal"))).engine
    except NoSuchProcess:
        return None
    try:
        while True:
            client.call(thread.Resume(engine=number, action="syscall"))
            client.call(thread.Stop(engine=number))
    except (Gone, NoSuchProcess, NotHeld):
        return number


def _trace(client: Client, pid: int) -> int | None:
    """Start and stop traces until the process ends; return the last trace where its end was not told yet."""
    while True:
        try:
            number = client.call(trace.Start(pid=pid, backend="ptrace")).trace
        except NoSuchProcess:
            return None
        if any(_ends(event, number) for event in client.poll(30)):
            return None
        try:
            client.call(trace.Stop(trace=number))
        except Gone:
            return number


def test_a_process_that_exits_meanwhile_is_told_as_gone(programs: Programs, client: Client) -> None:
    attached = 0
    for _ in range(100):
        with Popen(["/bin/true"]) as process:
            try:
                number = client.call(engine.Attach(pid=process.pid)).engine
            except NoSuchProcess:
                continue
            attached += 1
            _await_end(client, number)
            assert process.wait() == 0
    assert attached
