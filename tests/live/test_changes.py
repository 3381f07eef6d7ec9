"""What clients change of calls and signals, as the programs see it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.live.conftest import Programs
from tests.live.listening import Listener, told
from utracectl.client import Client
from utraced.api import engine, events, thread, trace
from utraced.api.engine import CallFilter
from utraced.errors import Contended, InvalidParams, NotHeld


@pytest.fixture
def program(programs: Programs) -> Path:
    return programs("told")


def attach(client: Client, pid: int, name: str, **mask: str) -> int:
    """Attach an engine that is told one call, and return its id."""
    number = client.call(engine.Attach(pid=pid, events=())).engine
    only = CallFilter(set=(name,))
    client.call(engine.SetSyscalls(engine=number, entry=only, exit=only))
    client.call(engine.SetEvents(engine=number, events=mask))  # type: ignore[arg-type]
    return number


@pytest.mark.parametrize(
    ("change", "words", "result"),
    [
        (thread.CallChange(abort=True, result="EACCES"), [str(errno.EACCES), "done"], -errno.EACCES),
        (thread.CallChange(abort=True), [str(errno.ENOSYS), "done"], -errno.ENOSYS),
        (thread.CallChange(abort=True, result=5), ["done"], 5),
        (thread.CallChange(result="ENFILE"), [str(errno.ENFILE), "done"], -errno.ENFILE),
        (thread.CallChange(), ["done"], 3),
    ],
)
def test_a_call_fails_as_a_client_wants(
    change: thread.CallChange, words: list[str], result: int, program: Path, client: Client
) -> None:
    heard = Listener(client)
    with told(program, "open") as target:
        started = client.call(trace.Start(pid=target.pid, syscalls=("openat",), backend="ptrace"))
        number = attach(client, target.pid, "openat", syscall_entry="hold", syscall_exit="report")
        target.go()
        heard.hear(events.SyscallEntry, engine=number, held=True)
        client.call(thread.Resume(engine=number, syscall=change))
        assert [target.says() for _ in words] == words
        assert heard.hear(events.Syscall, trace=started.trace).result == result
        assert heard.hear(events.SyscallExit, engine=number).result == result
        assert target.end() == 0


def test_a_result_is_changed_where_the_call_returns(program: Path, client: Client) -> None:
    heard = Listener(client)
    with told(program, "open") as target:
        number = attach(client, target.pid, "openat", syscall_exit="hold")
        target.go()
        assert heard.hear(events.SyscallExit, held=True).result == 3
        with pytest.raises(NotHeld):
            client.call(thread.Resume(engine=number, syscall=thread.CallChange(abort=True)))
        with pytest.raises(InvalidParams):
            client.call(thread.Resume(engine=number, syscall=thread.CallChange(result=-512)))
        client.call(thread.Resume(engine=number, syscall=thread.CallChange(result="EIO")))
        assert [target.says(), target.says()] == [str(errno.EIO), "done"]
        assert target.end() == 0


def test_two_engines_at_one_call_do_not_change_it_against_each_other(program: Path, client: Client) -> None:
    heard = Listener(client)
    with told(program, "open") as target:
        first = attach(client, target.pid, "openat", syscall_entry="hold")
        second = attach(client, target.pid, "openat", syscall_entry="hold")
        target.go()
        # The newest engine is told first.
        assert [heard.hear(events.SyscallEntry).engine for _ in range(2)] == [second, first]
        with pytest.raises(Contended):
            client.call(thread.Resume(engine=first, syscall=thread.CallChange(abort=True)))
        assert not client.call(thread.Resume(engine=second)).running
        client.call(thread.Resume(engine=first, syscall=thread.CallChange(abort=True, result="EPERM")))
        heard.hear(events.Resumed, engine=second)
        assert [target.says(), target.says()] == [str(errno.EPERM), "done"]
        assert target.end() == 0


def test_what_was_changed_stays_when_its_engine_leaves(program: Path, client: Client) -> None:
    heard = Listener(client)
    with told(program, "open") as target:
        number = attach(client, target.pid, "openat", syscall_entry="hold")
        target.go()
        heard.hear(events.SyscallEntry)
        client.call(thread.Resume(engine=number, action="step", syscall=thread.CallChange(result="EPERM")))
        client.call(engine.Detach(engine=number))
        assert [target.says(), target.says()] == [str(errno.EPERM), "done"]
        assert target.end() == 0


def test_a_replaced_call_is_made(program: Path, client: Client) -> None:
    heard = Listener(client)
    with told(program, "open") as target:
        number = attach(client, target.pid, "openat", syscall_entry="hold")
        target.go()
        heard.hear(events.SyscallEntry)
        client.call(thread.Resume(engine=number, syscall=thread.CallChange(nr="close", args=(None, None))))
        # AT_FDCWD is no descriptor that could be closed.
        assert [target.says(), target.says()] == [str(errno.EBADF), "done"]
        assert target.end() == 0
