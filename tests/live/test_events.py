"""Events that want more than a stop: libraries, reaping, registers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.live.conftest import Programs
from tests.live.listening import Listener, told
from tests.live.machine import state, threads, until
from utracectl.client import Client
from utraced.api import engine, events, registers, thread
from utraced.model import Status


@pytest.fixture
def program(programs: Programs) -> Path:
    return programs("told")


@pytest.fixture
def heard(client: Client) -> Listener:
    return Listener(client)


def mapped(pid: int, path: str) -> list[int]:
    """Return where a file's mappings begin."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [int(line.split("-")[0], 16) for line in lines if line.endswith(path)]


@pytest.mark.parametrize("response", ["report", "hold"])
def test_libraries_are_told_as_they_come_and_go(
    response: engine.Response, program: Path, client: Client, heard: Listener
) -> None:
    with told(program, "load", "unload") as target:
        number = client.call(engine.Attach(pid=target.pid, events={"library": response})).engine
        target.go()
        came = heard.hear(events.Library)
        assert came.loaded
        assert came.held is (response == "hold")
        if came.held:
            assert mapped(target.pid, came.path)[0] == int(came.base, 16)
            client.call(thread.Resume(engine=number))
        assert target.says() == "done"
        assert mapped(target.pid, came.path)[0] == int(came.base, 16)
        target.go()
        went = heard.hear(events.Library)
        assert (went.loaded, went.path, went.base) == (False, came.path, came.base)
        if came.held:
            assert mapped(target.pid, came.path) == []
            client.call(thread.Resume(engine=number))
        assert target.says() == "done"
        assert heard.quiet()
        assert target.end() == 0


def test_a_new_program_tells_of_its_libraries(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "exec") as target:
        client.call(engine.Attach(pid=target.pid, events=("library", "death")))
        target.go()
        assert "libc" in heard.hear(events.Library).path
        heard.hear(events.Death)
        assert target.process.wait(30) == 0


def test_a_process_is_told_to_be_reaped_after_its_death_and_before_nothing(
    program: Path, client: Client, heard: Listener
) -> None:
    with told(program, "child", "reap") as target:
        client.call(engine.Attach(pid=target.pid, events=("clone", "death", "reap"), follow=True))
        target.go()
        pid = int(target.says())
        assert target.says() == "done"
        clone = heard.hear(events.Clone, child_pid=pid)
        assert heard.hear(events.Death, pid=pid).last
        assert state(pid) == "Z"
        assert clone.child_engine is not None
        info = client.call(engine.Info(engine=clone.child_engine))
        assert (info.status, info.threads) == (Status(code=5), ())
        assert heard.quiet()
        target.go()
        assert target.says() == "done"
        reap = heard.hear(events.Reap, pid=pid)
        assert (reap.tid, reap.engine) == (pid, clone.child_engine)
        assert heard.hear(events.Detached, engine=clone.child_engine).status == Status(code=5)
        assert not os.path.exists(f"/proc/{pid}")
        assert target.end() == 0
        heard.hear(events.Death, pid=target.pid)
        heard.hear(events.Reap, pid=target.pid)
        heard.hear(events.Detached)
        assert heard.quiet()


def test_registers_come_with_every_event_of_a_stopped_thread(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "signal") as target:
        number = client.call(
            engine.Attach(pid=target.pid, events={"signal": "hold", "death": "report"}, capture=("registers",))
        ).engine
        client.call(thread.Stop(engine=number, wait=False))
        stop = heard.hear(events.Stop)
        read = client.call(registers.Read(engine=number, tid=target.pid)).general
        assert read is not None
        assert stop.registers == events.Captured({name: hex(value) for name, value in read.items()})
        assert stop.registers.general["rip"] == stop.pc
        client.call(thread.Resume(engine=number))
        target.go()
        signal = heard.hear(events.Signal)
        assert signal.registers is not None
        client.call(thread.Resume(engine=number, action="step"))
        step = heard.hear(events.Step)
        assert step.registers is not None
        assert step.registers.general["rip"] == step.pc
        client.call(engine.SetEvents(engine=number, events={"signal": "report", "death": "report"}))
        client.call(thread.Resume(engine=number))
        assert [target.says(), target.says()] == ["handled", "done"]
        assert target.end() == 0
        assert heard.hear(events.Death).registers is None


def test_an_exec_by_a_thread_tells_the_death_of_all_others(program: Path, client: Client, heard: Listener) -> None:
    with told(program, "thread", "exec_thread") as target:
        client.call(engine.Attach(pid=target.pid, events=("clone", "death", "exec")))
        target.go()
        assert target.says() == "done"
        target.go()
        born = {heard.hear(events.Clone).child_tid for _ in range(2)}
        executed = heard.hear(events.Exec)
        assert target.process.wait(30) == 0
        heard.hear(events.Detached)
        deaths = [each for each in heard.seen if isinstance(each, events.Death)]
        # The leader dies twice, in a way: taken over by the thread, and as what that became.
        assert sorted(each.tid for each in deaths) == sorted([*(born - {executed.former_tid}), target.pid, target.pid])
        assert [each.successor_tid for each in deaths if each.tid == target.pid] == [executed.former_tid, None]
        until(lambda: not threads(target.pid), "gone")
