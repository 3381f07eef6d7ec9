"""What the kernel records for a user is of his own processes alone, for as long as they are his."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import utracectl.decoding
import utracectl.main
import utracectl.trace_run
import utracectl.verbs.trace
from tests.broker.system import System
from tests.children import as_user, become, child, libc, needs_root, own_program
from tests.kernel.recording import needs_bpf
from tests.security.others import other, plain
from tests.security.test_privileged_exec import as_ada, starting
from tests.worker.daemon import Peer
from utraced.syscalls.calls import signatures

pytestmark = needs_root
# A user may read nothing of this package: what he will need is loaded before.
signatures("x86_64")

ADA, BOB, GROUP = 3111, 3112, 3199
PR_SET_DUMPABLE = 4


@pytest.fixture(autouse=True)
def _needs_bpf() -> None:
    needs_bpf()


def dumpable(value: int) -> None:
    assert libc().prctl(PR_SET_DUMPABLE, value, 0, 0, 0) == 0


def effective_only() -> None:
    """Be like a set-uid program that is its user for now."""
    os.setgroups([])
    os.setresgid(ADA, ADA, ADA)
    os.setresuid(ADA, ADA, 0)
    dumpable(1)


def hidden() -> None:
    own_program(ADA)
    dumpable(0)


PREPARED: dict[str, Callable[[], None]] = {
    "another's": lambda: own_program(BOB),
    "root's": lambda: None,
    "seteuid": effective_only,
    "dropped": lambda: become(ADA),
    "hidden": hidden,
    "group": lambda: own_program(ADA, GROUP),
}


def kind_of(address: str, pid: int) -> str:
    """Return the kind of the error for a trace of this process, of ADA's."""

    def ask() -> str:
        with Peer(address) as peer:
            peer.send("trace.start", pid=pid, backend="kernel")
            answer = peer.next()
            return str(answer.get("error", {}).get("data", {}).get("kind", answer))

    return as_user(ask, ADA)


@pytest.mark.parametrize("name", PREPARED)
def test_others_are_refused(daemon: System, name: str) -> None:
    with child(PREPARED[name]) as pid:
        assert kind_of(daemon.address, pid) == "permission_denied"


def test_privileged_programs_are_refused(daemon: System, set_uid: Path, with_capability: Path) -> None:
    with ExitStack() as stack:
        for program in (set_uid, with_capability):
            found = stack.enter_context(other(program, ADA, ADA))
            assert kind_of(daemon.address, found.pid) == "permission_denied"


@pytest.mark.parametrize(("overflow", "backend"), [("drop", "kernel"), ("block", "ptrace")])
def test_a_user_has_the_kernel_record_without_asking_for_it(daemon: System, overflow: str, backend: str) -> None:
    def ask(pid: int) -> str:
        with Peer(daemon.address) as peer:
            return str(peer.call("trace.start", pid=pid, overflow=overflow)["backend"])

    with child(lambda: own_program(ADA)) as pid:
        assert as_user(lambda: ask(pid), ADA) == backend


def recorded(address: str, program: Path) -> list[dict[str, Any]]:
    """As ADA: return what is told of a process that executes a program, until its trace is over."""
    started = starting(program)
    try:
        with Peer(address) as peer:
            peer.call("trace.start", pid=started.pid, backend="kernel", follow=True)
            started.start()
            told = []
            os.read(started.says, 100)  # it runs, and has made calls
            os.close(started.input)
            for event in peer.events():
                told.append(event)
                if event["kind"] == "detached":
                    return told
    finally:
        os.kill(started.pid, signal.SIGKILL)
        os.waitpid(started.pid, 0)
    raise AssertionError(told)


def names(told: list[dict[str, Any]]) -> list[str]:
    return [event["name"] for event in told if event["kind"] == "syscall"]


@pytest.mark.parametrize("kind", ["set_uid", "with_capability"])
def test_nothing_is_told_of_what_a_program_does_with_privileges(
    daemon: System, kind: str, request: pytest.FixtureRequest
) -> None:
    program: Path = request.getfixturevalue(kind)
    harmless = plain(program)
    without: list[dict[str, Any]] = as_ada(lambda: recorded(daemon.address, harmless))
    assert {"write", "rt_sigaction"} <= set(names(without))
    assert without[-1]["reason"] == "target_exited"
    told: list[dict[str, Any]] = as_ada(lambda: recorded(daemon.address, program))
    # What it did before as itself: to wait, and to execute.
    assert set(names(told)) <= {"read", "execve"}, told
    assert told[-1]["reason"] == "policy"


def lines_of(address: str, script: str) -> list[str]:
    """As ADA: return what utracectl shows of a script."""
    os.environ["UTRACED_SOCKET"] = address
    written = os.memfd_create("stderr")
    os.dup2(written, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    words = ["trace", "--backend", "kernel", "-f", "-e", "trace=execve,write", "--", "sh", "-c", script]
    assert utracectl.main.main(words) == 0
    return os.pread(written, 1 << 16, 0).decode().splitlines()


def test_one_program_with_privileges_does_not_end_the_trace_of_the_others(daemon: System, set_uid: Path) -> None:
    lines = as_ada(lambda: lines_of(daemon.address, f"{set_uid} </dev/null; echo ok"))
    (detached,) = [line for line in lines if " detached: " in line]
    assert detached.endswith("it runs with other rights than yours, as a set-uid program does")
    after = lines[lines.index(detached) :]
    assert [line for line in after if line.startswith("write(1, ")] == [f'write(1, "ok\\n", 3){" " * 21}= 3']


def hiding(address: str) -> list[dict[str, Any]]:
    """As ADA: return what is told of a process that hides itself, and then calls getppid."""
    waits, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(waits, 1)
            os.getpgid(0)
            dumpable(0)
            for _ in range(3):
                os.getppid()
        finally:
            os._exit(0)
    try:
        with Peer(address) as peer:
            peer.call("trace.start", pid=pid, backend="kernel", syscalls=["getpgid", "getppid"])
            os.write(go, b"!")
            told = []
            for event in peer.events():
                told.append(event)
                if event["kind"] == "detached":
                    break
            return told
    finally:
        os.waitpid(pid, 0)


def test_nothing_is_told_of_a_process_that_hides_itself(daemon: System) -> None:
    told: list[dict[str, Any]] = as_ada(lambda: hiding(daemon.address))
    assert names(told) == ["getpgid"]
    assert told[-1]["reason"] == "policy"
