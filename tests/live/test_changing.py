"""Registers and memory of real processes, changed over the socket."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.conftest import Programs
from tests.live.counters import counting
from tests.live.listening import Listener, told
from tests.live.machine import threads, tracer, until
from tests.live.test_looking import PAGE, mapped
from utracectl.client import Client, client_of
from utracectl.connect import start_worker
from utraced.api import engine, events, memory, registers, thread
from utraced.errors import BadAddress, Contended, InvalidParams, NotHeld
from utraced.model import Hex

GETPPID, GETPID = 110, 39


def test_a_call_s_result_is_changed_by_registers(programs: Programs, client: Client) -> None:
    heard = Listener(client)
    with told(programs("told"), "call") as target:
        number = client.call(engine.Attach(pid=target.pid, events=()))
        calls = engine.CallFilter(set=("getppid",))
        # Chosen first: else it would be held at the call by which it waits.
        client.call(engine.SetSyscalls(engine=number.engine, entry=calls, exit=calls))
        client.call(engine.SetEvents(engine=number.engine, events={"syscall_entry": "hold", "syscall_exit": "hold"}))
        target.go()
        heard.hear(events.SyscallEntry, name="getppid")
        client.call(registers.Write(engine=number.engine, tid=target.pid, general={"orig_rax": Hex(GETPID)}))
        client.call(thread.Resume(engine=number.engine))
        left = heard.hear(events.SyscallExit)
        assert left.result == target.pid
        client.call(registers.Write(engine=number.engine, tid=target.pid, general={"rax": Hex(7)}))
        read = client.call(registers.Read(engine=number.engine, tid=target.pid)).general
        assert read is not None
        assert read["rax"] == 7
        client.call(thread.Resume(engine=number.engine))
        assert target.says() == "done"
        assert target.end() == 0


def test_a_thread_goes_elsewhere_and_back_as_if_nothing_had_been(programs: Programs, client: Client) -> None:
    heard = Listener(client)
    with told(programs("told"), "call") as target:
        attached = client.call(engine.Attach(pid=target.pid, hold=True))
        whose = {"engine": attached.engine, "tid": target.pid}
        before = client.call(registers.Read(**whose)).general
        assert before is not None
        code = Hex(before["rip"] & -PAGE)
        old = client.call(memory.Read(pid=target.pid, address=code, size=8)).data
        client.call(memory.Write(engine=attached.engine, address=code, data=b"\x90" * 8))
        client.call(registers.Write(**whose, general={"rip": code}))
        for count in range(1, 5):
            client.call(thread.Resume(**whose, action="step"))
            assert int(heard.hear(events.Step).pc, 16) == code + count
        assert old is not None
        client.call(memory.Write(engine=attached.engine, address=code, data=old))
        client.call(registers.Write(**whose, general=before))
        client.call(engine.Detach(engine=attached.engine))
        target.go()
        assert target.says() == "done"
        assert target.end() == 0


def test_what_a_session_has_written_stays_when_it_goes(programs: Programs) -> None:
    with mapped(programs("memory")) as (process, start), ExitStack() as stack:
        link = start_worker()
        client = stack.enter_context(client_of(link))
        number = client.call(engine.Attach(pid=process.pid)).engine
        assert client.call(memory.Write(engine=number, address=Hex(start + 8), data=b"changed")).size == 7
        client.close()
        assert link.worker is not None
        os.waitpid(link.worker, 0)
        until(lambda: tracer(process.pid) == 0, "free")
        with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as file:
            assert os.pread(file.fileno(), 9, start + 7) == b"achangeda"


def test_memory_that_is_not_there_is_not_written(programs: Programs, client: Client) -> None:
    with mapped(programs("memory")) as (process, start):
        number = client.call(engine.Attach(pid=process.pid)).engine
        with pytest.raises(BadAddress) as caught:
            client.call(memory.Write(engine=number, address=Hex(start + PAGE - 4), data=b"more than 4"))
        assert caught.value.data["done"] == 4
        with pytest.raises(NotHeld):
            client.call(registers.Write(engine=number, tid=process.pid, general={"rax": Hex(0)}))
        client.call(thread.Stop(engine=number))
        with pytest.raises(InvalidParams) as refused:
            client.call(registers.Write(engine=number, tid=process.pid, general={"eax": Hex(0)}))
        assert refused.value.data["member"] == "eax"
        second = client.call(engine.Attach(pid=process.pid, hold=True)).engine
        with pytest.raises(Contended):
            client.call(registers.Write(engine=number, tid=process.pid, general={"rax": Hex(0)}))
        client.call(engine.Detach(engine=second))


def test_memory_is_searched(programs: Programs, client: Client) -> None:
    with mapped(programs("memory")) as (process, start):
        near = {"start": Hex(start), "end": Hex(start + 3 * PAGE)}
        found = client.call(memory.Search(pid=process.pid, pattern=b"aaa", limit=3, **near))
        assert (found.addresses, found.next) == ((start, start + 1, start + 2), start + 3)
        assert client.call(memory.Search(pid=process.pid, pattern=b"c" * PAGE, **near)).addresses == (start + 2 * PAGE,)
        everywhere = client.call(memory.Search(pid=process.pid, pattern=b"\x7fELF"))
        assert len(everywhere.addresses) >= 3
        assert everywhere.next is None


def test_threads_that_are_stopped_and_resumed_again_and_again(
    programs: Programs, client: Client, tmp_path: Path
) -> None:
    """No wake-up is lost, whoever takes the signal that tells of a stop: a request, or the loop."""
    with counting(programs("busy"), tmp_path, 3) as target:
        number = client.call(engine.Attach(pid=target.pid, events=("death",))).engine
        for count in range(60):
            tid = None if count % 3 else threads(target.pid)[-1]
            stopped = client.call(thread.Stop(engine=number, tid=tid), timeout=30)
            assert {each.state for each in stopped.threads} == {"held"}
            assert client.call(thread.Resume(engine=number, tid=tid)).running
        client.call(engine.Detach(engine=number))
        target.is_free()
