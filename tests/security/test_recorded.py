"""What the kernel records for a user is of his own processes alone, for as long as they are his."""

from __future__ import annotations

import ctypes
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
CLONE_VM, CLONE_VFORK, CLONE_NEWUSER = 0x100, 0x4000, 0x10000000


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


BACKENDS = ("kernel", "perf")


def kind_of(address: str, pid: int, backend: str) -> str:
    """Return the kind of the error for a trace of this process, of ADA's."""

    def ask() -> str:
        with Peer(address) as peer:
            peer.send("trace.start", pid=pid, backend=backend)
            answer = peer.next()
            return str(answer.get("error", {}).get("data", {}).get("kind", answer))

    return as_user(ask, ADA)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PREPARED)
def test_others_are_refused(daemon: System, name: str, backend: str) -> None:
    with child(PREPARED[name]) as pid:
        assert kind_of(daemon.address, pid, backend) == "permission_denied"


@pytest.mark.parametrize("backend", BACKENDS)
def test_privileged_programs_are_refused(daemon: System, set_uid: Path, with_capability: Path, backend: str) -> None:
    with ExitStack() as stack:
        for program in (set_uid, with_capability):
            found = stack.enter_context(other(program, ADA, ADA))
            assert kind_of(daemon.address, found.pid, backend) == "permission_denied"


@pytest.mark.parametrize(("overflow", "backend"), [("drop", "kernel"), ("block", "ptrace")])
def test_a_user_has_the_kernel_record_without_asking_for_it(daemon: System, overflow: str, backend: str) -> None:
    def ask(pid: int) -> str:
        with Peer(daemon.address) as peer:
            return str(peer.call("trace.start", pid=pid, overflow=overflow)["backend"])

    with child(lambda: own_program(ADA)) as pid:
        assert as_user(lambda: ask(pid), ADA) == backend


def recorded(address: str, program: Path, backend: str) -> list[dict[str, Any]]:
    """As ADA: return what is told of a process that executes a program, until its trace is over."""
    started = starting(program)
    try:
        with Peer(address) as peer:
            peer.call("trace.start", pid=started.pid, backend=backend, follow=True)
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


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["set_uid", "with_capability"])
def test_nothing_is_told_of_what_a_program_does_with_privileges(
    daemon: System, kind: str, backend: str, request: pytest.FixtureRequest
) -> None:
    program: Path = request.getfixturevalue(kind)
    harmless = plain(program)
    without: list[dict[str, Any]] = as_ada(lambda: recorded(daemon.address, harmless, backend))
    assert {"write", "rt_sigaction"} <= set(names(without))
    assert without[-1]["reason"] == "target_exited"
    told: list[dict[str, Any]] = as_ada(lambda: recorded(daemon.address, program, backend))
    # What it did before as itself: to wait, and to execute.
    assert set(names(told)) <= {"read", "execve"}, told
    assert told[-1]["reason"] == "policy"


def lines_of(address: str, script: str, backend: str) -> list[str]:
    """As ADA: return what utracectl shows of a script."""
    os.environ["UTRACED_SOCKET"] = address
    written = os.memfd_create("stderr")
    os.dup2(written, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    words = ["trace", "--backend", backend, "-f", "-e", "trace=execve,write", "--", "sh", "-c", script]
    assert utracectl.main.main(words) == 0
    return os.pread(written, 1 << 16, 0).decode().splitlines()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_program_with_privileges_does_not_end_the_trace_of_the_others(
    daemon: System, set_uid: Path, backend: str
) -> None:
    lines = as_ada(lambda: lines_of(daemon.address, f"{set_uid} </dev/null; echo ok", backend))
    (detached,) = [line for line in lines if " detached: " in line]
    assert detached.endswith("it runs with other rights than yours, as a set-uid program does")
    after = lines[lines.index(detached) :]
    written = [line.split("= ")[-1] for line in after if line.startswith("write(1, ")]
    assert written == ["3"]


def new_user_namespace() -> None:
    assert libc().unshare(CLONE_NEWUSER) == 0


def hidden_by_a_child() -> None:
    """Have a child that shares our memory make us one that may not be dumped."""
    flags = ctypes.c_long(CLONE_VM | CLONE_VFORK | signal.SIGCHLD)
    stack = ctypes.create_string_buffer(1 << 16)
    run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    top = ctypes.c_void_p((ctypes.addressof(stack) + (1 << 16)) & ~15)
    assert libc().clone(run, top, flags, None) > 0
    os.wait()


LEAVING: dict[str, Callable[[], None]] = {
    "not dumpable": lambda: dumpable(0),
    "user namespace": new_user_namespace,
    "by a child": hidden_by_a_child,
}


def hiding(address: str, backend: str, leave: Callable[[], None]) -> list[dict[str, Any]]:
    """As ADA: return what is told of a process that hides itself, and then calls getppid."""
    waits, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(waits, 1)
            os.getpgid(0)
            leave()
            for _ in range(3):
                os.getppid()
        finally:
            os._exit(0)
    try:
        with Peer(address) as peer:
            peer.call("trace.start", pid=pid, backend=backend, syscalls=["getpgid", "getppid"])
            os.write(go, b"!")
            told = []
            for event in peer.events():
                told.append(event)
                if event["kind"] == "detached":
                    break
            return told
    finally:
        os.waitpid(pid, 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", LEAVING)
def test_nothing_is_told_of_a_process_that_hides_itself(daemon: System, how: str, backend: str) -> None:
    told: list[dict[str, Any]] = as_ada(lambda: hiding(daemon.address, backend, LEAVING[how]))
    assert names(told) == ["getpgid"]
    assert told[-1]["reason"] == "policy"
