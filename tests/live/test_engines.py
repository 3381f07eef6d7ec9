"""Engines on real processes: what they are told, what they hold, and how threads go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import cast

import pytest

from tests.children import ended
from tests.live.conftest import Programs
from tests.live.counters import counting
from tests.live.listening import Listener, told
from tests.live.machine import state, threads, tracer, until
from utracectl.client import Client
from utraced.api import engine, events, thread, trace
from utraced.api.engine import CallFilter
from utraced.api.process import Info as ProcessInfo
from utraced.errors import Gone, InvalidParams, NoSuchObject, NoSuchProcess, NotHeld, UtracedError
from utraced.model import Status
from utraced.rpc.method import Method
from utraced.syscalls.siginfo import decode_siginfo

ALL = ("clone", "death", "exec", "exit", "job_control", "signal", "vfork_done")


@pytest.fixture
def program(programs: Programs) -> Path:
    return programs("told")


@pytest.fixture
def heard(client: Client) -> Listener:
    return Listener(client)


def attach(client: Client, pid: int, **options: object) -> int:
    """Attach an engine that is told all that happens, and return its id."""
    return client.call(engine.Attach(pid=pid, **{"events": ALL, **options})).engine  # type: ignore[arg-type]


def test_attaching_with_a_hold_holds_and_resuming_lets_go(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "call") as target:
        attached = client.call(engine.Attach(pid=target.pid, hold=True))
        assert [(each.tid, each.state) for each in attached.threads] == [(target.pid, "held")]
        assert attached.threads[0].holders
        assert attached.start_time == client.call(ProcessInfo(pid=target.pid)).start_time
        assert state(target.pid) == "t"
        assert heard.quiet()
        running = client.call(thread.Resume(engine=attached.engine))
        assert running.running
        assert running.holders == ()
        target.go()
        assert target.says() == "done"
        assert target.end() == 0
        assert heard.hear(events.Exit).status == Status(code=0)
        assert heard.hear(events.Death).last
        assert heard.hear(events.Detached, reason="target_exited").status == Status(code=0)
        assert heard.quiet()


def test_a_fork_is_followed_from_its_first_instruction(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "fork") as target:
        number = attach(client, target.pid, follow=True)
        target.go()
        clone = heard.hear(events.Clone, engine=number, how="fork", pid=target.pid)
        assert clone.child_pid == clone.child_tid
        assert clone.child_engine not in {None, number}
        assert heard.hear(events.Exit, pid=clone.child_pid, engine=clone.child_engine).status == Status(code=3)
        assert heard.hear(events.Death, pid=clone.child_pid).status == Status(code=3)
        assert heard.hear(events.Detached, engine=clone.child_engine).status == Status(code=3)
        assert heard.hear(events.Signal, signal="SIGCHLD", engine=number).sender_pid == clone.child_pid
        assert target.says() == "done"
        assert heard.quiet()
        assert [each.engine for each in client.call(engine.List()).engines] == [number]


def test_a_followed_child_is_held_where_its_parents_engine_holds(
    program: Path, client: Client, heard: Listener
) -> None:
    with told(program, "fork") as target:
        number = attach(client, target.pid, follow=True, hold=True)
        client.call(thread.Resume(engine=number))
        target.go()
        clone = heard.hear(events.Clone)
        stop = heard.hear(events.Stop, engine=clone.child_engine)
        assert (stop.why, stop.held, stop.tid) == ("attached", True, clone.child_tid)
        assert state(clone.child_pid) == "t"
        assert clone.child_engine is not None
        assert client.call(engine.Info(engine=clone.child_engine)).hold
        client.call(thread.Resume(engine=clone.child_engine))
        heard.hear(events.Death, pid=clone.child_pid)
        assert target.says() == "done"


def test_a_child_that_is_not_followed_is_let_go(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "fork") as target:
        attach(client, target.pid)
        target.go()
        assert heard.hear(events.Clone).child_engine is None
        assert target.says() == "done"
        heard.hear(events.Signal, signal="SIGCHLD")
        assert heard.quiet()


def test_vfork_tells_that_it_is_done(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "vfork", "spawn") as target:
        attach(client, target.pid, follow=True)
        target.go()
        clone = heard.hear(events.Clone, how="vfork")
        assert heard.hear(events.VforkDone, pid=target.pid).child_pid == clone.child_pid
        assert target.says() == "done"
        target.go()
        clone = heard.hear(events.Clone, how="vfork")
        executed = heard.hear(events.Exec, pid=clone.child_pid)
        assert executed.path is not None
        assert executed.path.endswith("/true")
        assert target.says() == "done"
        heard.hear(events.Death, pid=clone.child_pid)
        done = [each for each in heard.seen if isinstance(each, events.VforkDone)]
        assert [each.child_pid for each in done][-1] == clone.child_pid


def test_a_thread_is_born_and_dies(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "thread") as target:
        attach(client, target.pid)
        target.go()
        clone = heard.hear(events.Clone, how="thread")
        assert clone.child_pid == target.pid
        assert clone.child_engine is None
        assert heard.hear(events.Exit, tid=clone.child_tid).status == Status(code=0)
        death = heard.hear(events.Death, tid=clone.child_tid)
        assert not death.last
        assert target.says() == "done"
        assert heard.quiet()


def test_exec_holds_before_the_new_program_runs(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "exec") as target:
        number = attach(client, target.pid, hold_on_exec=True)
        target.go()
        executed = heard.hear(events.Exec)
        assert executed.former_tid == target.pid
        stop = heard.hear(events.Stop)
        assert (stop.why, stop.held) == ("exec", True)
        assert os.readlink(f"/proc/{target.pid}/exe").endswith("/true")
        client.call(thread.Resume(engine=number))
        assert heard.hear(events.Death).status == Status(code=0)
        assert target.process.wait(30) == 0


def test_exec_of_a_thread_takes_over_the_leaders_id(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "exec_thread") as target:
        number = attach(client, target.pid)
        target.go()
        clone = heard.hear(events.Clone, how="thread")
        superseded = heard.hear(events.Death, tid=target.pid)
        assert superseded.successor_tid == clone.child_tid
        assert superseded.status is None
        assert not superseded.last
        executed = heard.hear(events.Exec)
        assert (executed.tid, executed.former_tid) == (target.pid, clone.child_tid)
        assert heard.hear(events.Death, tid=target.pid).last
        assert heard.hear(events.Detached, engine=number).status == Status(code=0)
        assert target.process.wait(30) == 0


def test_signals_are_told_with_their_information(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "queue", "segv") as target:
        attach(client, target.pid)
        target.go()
        queued = heard.hear(events.Signal, signal="SIGUSR1")
        assert (queued.code, queued.sender_pid, queued.sender_uid) == ("SI_QUEUE", target.pid, os.getuid())
        assert queued.info is not None
        assert decode_siginfo(queued.info).members["int"] == 42
        assert [target.says(), target.says()] == ["handled", "done"]
        target.go()
        fault = heard.hear(events.Signal, signal="SIGSEGV")
        assert (fault.code, fault.address) == ("SEGV_MAPERR", "0x10")
        death = heard.hear(events.Death, last=True)
        assert death.status is not None
        assert death.status.signal == "SIGSEGV"
        assert target.process.wait(30) == -signal.SIGSEGV


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, ["handled", "done"]),
        (thread.SignalChange(), ["handled", "done"]),
        (thread.SignalChange(deliver=False), ["done"]),
        (thread.SignalChange(number="SIGUSR2"), ["other", "done"]),
        (thread.SignalChange(number=12), ["other", "done"]),
    ],
)
def test_a_held_signal_is_delivered_dropped_or_replaced(
    change: thread.SignalChange | None, words: list[str], program: Path, client: Client, heard: Listener
) -> None:
    with told(program, "signal") as target:
        number = attach(client, target.pid, events={"signal": "hold"})
        target.go()
        assert heard.hear(events.Signal, signal="SIGUSR1").held
        assert state(target.pid) == "t"
        client.call(thread.Resume(engine=number, signal=change))
        assert [target.says() for _ in words] == words
        assert target.end() == 0


def test_a_signal_held_when_its_engine_leaves_is_delivered(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "signal") as target:
        number = attach(client, target.pid, events={"signal": "hold"})
        target.go()
        heard.hear(events.Signal, held=True)
        client.call(engine.Detach(engine=number))
        assert [target.says(), target.says()] == ["handled", "done"]
        assert tracer(target.pid) == 0
        assert target.end() == 0


def test_stopping_and_resuming_threads(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "call") as target:
        number = attach(client, target.pid)
        stopped = client.call(thread.Stop(engine=number))
        assert [each.state for each in stopped.threads] == ["held"]
        assert client.call(thread.Stop(engine=number, tid=target.pid)).threads == stopped.threads
        assert heard.quiet()
        client.call(thread.Resume(engine=number, tid=target.pid))
        client.call(thread.Stop(engine=number, wait=False))
        stop = heard.hear(events.Stop)
        assert (stop.why, stop.held, stop.tid) == ("requested", True, target.pid)
        client.call(thread.Resume(engine=number))
        target.go()
        assert target.says() == "done"
        assert target.end() == 0


def test_stepping_is_told_and_held(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "call") as target:
        number = attach(client, target.pid, hold=True)
        client.call(thread.Resume(engine=number))
        target.go()
        assert target.says() == "done"
        client.call(thread.Stop(engine=number))
        target.go()
        places = set()
        for _ in range(20):
            assert client.call(thread.Resume(engine=number, action="step")).running
            step = heard.hear(events.Step)
            assert step.held
            places.add(step.pc)
        assert len(places) > 10
        assert heard.quiet()
        client.call(thread.Resume(engine=number))
        assert target.process.wait(30) == 0


def test_going_on_to_the_next_system_call(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "call") as target:
        number = attach(client, target.pid, hold=True)
        target.go()
        names: list[str] = []
        while names.count("write") < 2:
            client.call(thread.Resume(engine=number, action="syscall"))
            event = heard.next()
            assert isinstance(event, (events.SyscallEntry, events.SyscallExit))
            assert event.held
            assert isinstance(event, events.SyscallEntry) is bool(names.count(event.name) % 2 == 0)
            names.append(event.name)
        # The read was interrupted by the attaching, and so is entered again.
        assert names[-6:] == ["read", "read", "getppid", "getppid", "write", "write"]
        client.call(thread.Resume(engine=number))
        assert target.says() == "done"
        assert target.end() == 0


def test_system_calls_are_told_as_selected(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "call", "call", "call") as target:
        number = attach(client, target.pid, events=("syscall_entry", "syscall_exit"))
        client.call(
            engine.SetSyscalls(engine=number, entry=CallFilter(set=("getppid",)), exit=CallFilter(set=("write",)))
        )
        target.go()
        entry = heard.hear(events.SyscallEntry, name="getppid")
        assert (entry.arch, entry.nr) == ("x86_64", 110)
        written = heard.next()
        assert isinstance(written, events.SyscallExit)
        assert (written.name, written.result, written.args[:1]) == ("write", 5, ("0x1",))
        assert target.says() == "done"
        client.call(
            engine.SetSyscalls(engine=number, entry=CallFilter(remove=("getppid",)), exit=CallFilter(enabled=False))
        )
        target.go()
        assert target.says() == "done"
        assert heard.quiet()
        client.call(
            engine.SetSyscalls(engine=number, entry=CallFilter(enabled=False), exit=CallFilter(enabled=True, set="all"))
        )
        client.call(engine.SetEvents(engine=number, events={"syscall_exit": "hold"}))
        target.go()
        assert heard.hear(events.SyscallExit, name="read").held
        with pytest.raises(InvalidParams, match="getpp"):
            client.call(engine.SetSyscalls(engine=number, entry=CallFilter(set=("getpp",))))
        client.call(engine.Detach(engine=number))
        assert target.says() == "done"
        assert target.end() == 0


def test_an_engine_is_described(program: Path, client: Client) -> None:
    with told(program) as target:
        attached = client.call(engine.Attach(pid=target.pid, follow=True, events={"exec": "hold"}))
        info = client.call(engine.Info(engine=attached.engine))
        assert (info.engine, info.pid, info.start_time) == (attached.engine, target.pid, attached.start_time)
        assert info.events == {"exec": "hold"}
        assert (info.hold, info.hold_on_exec, info.follow) == (False, False, True)
        assert [each.state for each in info.threads] == ["running"]
        client.call(engine.SetEvents(engine=attached.engine, events=("death",)))
        assert client.call(engine.Info(engine=attached.engine)).events == {"death": "report"}
        listed = client.call(engine.List()).engines
        assert [(each.engine, each.pid) for each in listed] == [(attached.engine, target.pid)]


def test_what_is_not_there_is_told_apart(program: Path, client: Client) -> None:
    with told(program) as target:
        number = attach(client, target.pid)
        cases: list[tuple[object, type[UtracedError]]] = [
            (engine.Info(engine=99), NoSuchObject),
            (engine.Detach(engine=99), NoSuchObject),
            (trace.Stop(trace=99), NoSuchObject),
            (thread.Resume(engine=number), NotHeld),
            (thread.Resume(engine=number, tid=target.pid), NotHeld),
            (thread.Stop(engine=number, tid=os.getpid()), NoSuchProcess),
            (thread.Signal(pid=target.pid, tid=os.getpid(), signal="SIGUSR1"), NoSuchProcess),
            (thread.Signal(pid=target.pid, tid=target.pid, signal="SIGNOTHING"), InvalidParams),
            (engine.Attach(pid=ended()), NoSuchProcess),
            (engine.Attach(pid=target.pid, start_time=1), NoSuchProcess),
        ]
        for request, error in cases:
            with pytest.raises(error):
                client.call(cast(Method[object], request))
        client.call(engine.Detach(engine=number))
        for ended_one in (engine.Info(engine=number), engine.Detach(engine=number), thread.Stop(engine=number)):
            with pytest.raises(Gone):
                client.call(cast(Method[object], ended_one))
        assert client.call(engine.List()).engines == ()


def test_the_engine_of_an_ended_process_tells_how_it_ended(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "exit") as target:
        number = attach(client, target.pid)
        target.go()
        heard.hear(events.Detached)
        with pytest.raises(Gone) as caught:
            client.call(engine.Info(engine=number))
        assert caught.value.data["status"] == {"code": 7}


def test_a_signal_is_sent_to_one_thread(program: Path, client: Client, heard: Listener) -> None:
    with told(program) as target:
        attach(client, target.pid)
        client.call(thread.Signal(pid=target.pid, tid=target.pid, signal="SIGUSR2"))
        assert heard.hear(events.Signal, signal="SIGUSR2").code == "SI_TKILL"
        assert target.says() == "other"
        client.call(thread.Signal(pid=target.pid, tid=target.pid, signal=9))
        assert heard.hear(events.Death).status == Status(signal="SIGKILL", core_dumped=False)
        assert target.process.wait(30) == -signal.SIGKILL


def test_a_group_stop_is_job_control(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "stop") as target:
        attach(client, target.pid)
        target.go()
        assert heard.hear(events.Signal).signal == "SIGSTOP"
        stopped = heard.hear(events.JobControl)
        assert (stopped.state, stopped.signal) == ("stopped", "SIGSTOP")
        until(lambda: state(target.pid) in {"t", "T"}, "stopped")
        os.kill(target.pid, signal.SIGCONT)
        assert heard.hear(events.JobControl).state == "continued"
        assert target.says() == "done"
        assert target.end() == 0


def test_a_thread_is_no_process_to_attach_to(programs: Programs, tmp_path: Path, client: Client) -> None:
    with counting(programs("busy"), tmp_path, 2, "idle") as target:
        (other,) = set(threads(target.pid)) - {target.pid}
        with pytest.raises(NoSuchProcess):
            client.call(engine.Attach(pid=other))
        with pytest.raises(NoSuchProcess):
            client.call(engine.Attach(pid=4_194_303))
        target.is_free(only=1)
